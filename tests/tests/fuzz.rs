//! The fuzz targets' work with random bytes, and with bytes that come far.

use mxdp_tests::fuzz::{ranges, smtp_data, smtp_session, smtp_words};
use proptest::prelude::*;

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
    fn data_has_one_reading(data in prop::collection::vec(
        prop::sample::select(&b"\r\n.\0ab\xff"[..]), 0..80)) {
        smtp_data(&data);
    }

    #[test]
    fn words_break_no_line(text in "(MAIL FROM:<|RCPT TO:<|EHLO |250-|250 |)[ -~\r\n\0\u{e9}]{0,40}>?(\r\n)?") {
        smtp_words(text.as_bytes());
    }
}
