//! The files of a country folder as one sequence of bytes, as their copy is kept.

/// Adds a file.
pub(super) fn pack(packed: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    packed.extend((name.len() as u64).to_be_bytes());
    packed.extend((bytes.len() as u64).to_be_bytes());
    packed.extend(name.as_bytes());
    packed.extend(bytes);
}

/// The files that [`pack`] added.
pub(super) fn unpack(mut packed: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    while !packed.is_empty() {
        let (lengths, rest) = packed.split_first_chunk::<16>()?;
        let (name, bytes) = lengths.split_first_chunk::<8>()?;
        let length = |bytes: [u8; 8]| usize::try_from(u64::from_be_bytes(bytes)).ok();
        let (name, rest) = rest.split_at_checked(length(*name)?)?;
        let (bytes, rest) = rest.split_at_checked(length(bytes.try_into().ok()?)?)?;
        files.push((std::str::from_utf8(name).ok()?.to_owned(), bytes.to_vec()));
        packed = rest;
    }
    Some(files)
}
