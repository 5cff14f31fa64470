//! Short forms of commands.

use std::ffi::OsString;

/// Inserts the `add` that is meant if an address follows the name of a list:
/// `block 192.0.2.1`.
pub(in super::super) fn with_add(mut words: Vec<OsString>) -> Vec<OsString> {
    let text = |word: &OsString| word.to_str().unwrap_or_default().to_owned();
    let mut place = 1;
    let mut list = false;
    while let Some(word) = words.get(place).map(text) {
        match word.as_str() {
            "--json" => {}
            "-c" | "--config" | "--socket" => place += 1,
            word if word.starts_with("--config=") || word.starts_with("--socket=") => {}
            "block" | "approve" | "temp" if !list => list = true,
            // A word that looks like an address, valid or not.
            word if list && word.contains(['.', ':']) && !word.starts_with('-') => {
                words.insert(place, "add".into());
                return words;
            }
            _ => return words,
        }
        place += 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_behind_a_list_is_added() {
        for (given, meant) in [
            ("mxdp block 192.0.2.1", "mxdp block add 192.0.2.1"),
            ("mxdp approve 2001:db8::/32 --for 1h", "mxdp approve add 2001:db8::/32 --for 1h"),
            (
                "mxdp --json -c f.toml temp --socket s 192.0.2.1",
                "mxdp --json -c f.toml temp --socket s add 192.0.2.1",
            ),
            ("mxdp block 192.0.2.300", "mxdp block add 192.0.2.300"),
            ("mxdp block add 192.0.2.1", "mxdp block add 192.0.2.1"),
            ("mxdp block list", "mxdp block list"),
            ("mxdp block lits", "mxdp block lits"),
            ("mxdp block --help", "mxdp block --help"),
            ("mxdp lookup 192.0.2.1", "mxdp lookup 192.0.2.1"),
            ("mxdp block", "mxdp block"),
            ("mxdp", "mxdp"),
        ] {
            let words = given.split(' ').map(OsString::from).collect();
            let words: Vec<_> =
                with_add(words).into_iter().map(|w| w.into_string().unwrap()).collect();
            assert_eq!(words.join(" "), meant);
        }
    }
}
