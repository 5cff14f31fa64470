//! The fuzz targets' work with random bytes, and with bytes that come far.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mxdp_tests::fuzz::{
    TARGETS, frames, list_files, ranges, smtp_data, smtp_model, smtp_session, smtp_words,
};
use proptest::prelude::*;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The content of a folder, in order; empty if the folder is missing.
fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.into_string().expect("UTF-8")).collect()
}

/// Runs the files of a target, and returns how many there are. The name of the one
/// that fails is the last that is printed.
fn replay(target: &str, work: fn(&[u8]), folder: &Path) -> usize {
    let names = names(folder);
    for name in &names {
        println!("{target}: {name}");
        work(&fs::read(folder.join(name)).expect("a file"));
    }
    names.len()
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let programs = names(&folder("fuzz_targets"));
    let programs = programs.iter().map(|name| name.trim_end_matches(".rs").to_owned());
    assert_eq!(programs.collect::<BTreeSet<_>>(), targets, "tests/fuzz/fuzz_targets");
    assert_eq!(names(&folder("corpus")), targets, "tests/fuzz/corpus");
    for target in names(&folder("regressions")) {
        assert!(targets.contains(&target), "tests/fuzz/regressions/{target} has no target");
    }
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("the manifest");
    for target in &targets {
        let program = format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"\n");
        assert!(manifest.contains(&program), "tests/fuzz/Cargo.toml lacks {target}");
    }
}

#[test]
fn the_corpus_and_all_that_was_found_once_passes() {
    for (target, work) in TARGETS {
        work(&[]);
        let seeds = replay(target, work, &folder("corpus").join(target));
        assert!(seeds >= 5, "{target} has {seeds} files to begin with");
        replay(target, work, &folder("regressions").join(target));
    }
}

/// A piece of a session: who speaks (the low bits), and what.
fn says(who: u8, text: &str) -> Vec<u8> {
    let mut piece = vec![who | u8::try_from(text.len() << 3).expect("short")];
    piece.extend_from_slice(text.as_bytes());
    piece
}

#[test]
fn a_whole_message_passes() {
    let pieces = [
        says(0, "EHLO a\r\n"),
        says(0, "MAIL FROM:<a@b>\r\n"),
        says(0, "RCPT TO:<c@d>\r\n"),
        says(5, ""),
        says(5, ""),
        says(0, "DATA\r\n"),
        says(6, ""),
        says(0, "Subject: s\r\n\r\nbody\r\n.\r\n"),
        says(5, ""),
        says(0, "QUIT\r\n"),
    ];
    smtp_session(&pieces.concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// All other targets; bytes alone come less far than what a fuzzer makes of the
    /// corpus, and cost little.
    #[test]
    fn random_bytes_pass_everywhere(data in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, work) in TARGETS.iter().filter(|(name, _)| *name != "ranges") {
            work(&data);
        }
    }

    #[test]
    fn ranges_of_random_bytes_agree(data in prop::collection::vec(any::<u8>(), 0..3000)) {
        ranges(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn sessions_of_random_bytes_end(data in prop::collection::vec(any::<u8>(), 0..600)) {
        smtp_session(&data);
    }

    /// Words of the protocol come further than bytes.
    #[test]
    fn sessions_of_random_words_end(
        words in prop::collection::vec((0_u8..8, prop::sample::select(vec![
            "EHLO a\r\n", "HELO a\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n",
            "BDAT 5\r\nabcde", "BDAT 0 LAST\r\n", "BDAT 9 LAST\r\n", "RSET\r\n", "STARTTLS\r\n",
            "a\r\n.\r\n", ".\r\n", "\r\n", "\n", "\r", ".", "\0", "250 ok\r\n", "250-ok\r\n",
            "354 go\r\n", "421 bye\r\n", "550 5.1.1 no\r\n", "QUIT\r\n", "NOOP\r\n",
        ])), 0..60),
    ) {
        let data: Vec<u8> = words.iter().flat_map(|(who, word)| says(*who, word)).collect();
        smtp_session(&data);
    }

    #[test]
    fn sessions_keep_the_order_of_the_model(data in prop::collection::vec(0_u8..128, 0..90)) {
        smtp_model(&data);
    }

    /// Headers that mostly hang together.
    #[test]
    fn frames_have_one_reading(parts in prop::collection::vec(prop_oneof![
        prop::sample::select(vec![
            &b"\x81\0\0\x07"[..], b"\x88\xa8\0\x07", b"\x08\0", b"\x86\xdd",
            b"E\0\0\x28\0\0\0\0\x40\x06\0\0\xc0\0\x02\x01\xcb\0\x71\x19",
            b"\x60\0\0\0\0\x20\0\x40", b"\x60\0\0\0\0\x14\x06\x40", b"\x60\0\0\0\0\0\0\x40",
            b"\x2c\0\0\0\0\0\0\0", b"\x06\0\0\x01\0\0\0\0", b"\x06\x01\0\0\0\0\0\0",
            b"\x33\0\0\0\0\0\0\0", b"\xc0\0\0\x19\0\0\0\x01\0\0\0\0\x50\x02\xff\xff\0\0\0\0",
            b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", &[0; 8],
        ]).prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 1..5),
    ], 0..10)) {
        frames(&[&[2; 12][..], &parts.concat()].concat());
    }

    #[test]
    fn lists_say_the_same_again(text in "([0-9:.a-f/]{1,9}[0-9/#; \t\r\n]|192.0.2.1/24 x\n|::1\n){0,12}") {
        list_files(text.as_bytes());
    }

    #[test]
    fn data_has_one_reading(data in prop::collection::vec(
        prop::sample::select(&b"\r\n.\0ab\xff"[..]), 0..80)) {
        smtp_data(&data);
    }

    #[test]
    fn words_break_no_line(text in "(MAIL FROM:<|RCPT TO:<|EHLO |250-|250 |)[ -~\r\n\0\u{e9}]{0,40}>?(\r\n)?") {
        smtp_words(text.as_bytes());
    }
}
