//! Bytes as a stranger sends them: cut into lines however they arrive, and each line understood.

use peerage::wire::{Encoded, Frame, Line, LineSplitter, MAX_HELLO_LINE, MAX_LINE};

/// The first byte says how the others arrive, and how long lines may be.
pub(crate) fn run(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let limit = if how & 1 == 0 { MAX_HELLO_LINE } else { 32 };
    let step = usize::from(how >> 1).max(1);
    let in_parts = lines(bytes.chunks(step), limit);
    let at_once = lines(std::iter::once(bytes), limit);
    assert_eq!(in_parts, at_once, "where bytes are split into segments means nothing");
    for line in at_once.iter().flatten() {
        assert!(line.len() <= limit && !line.contains(&b'\n'));
        understand(line);
    }
}

/// The lines, `None` for one that is too long, up to which they are compared.
fn lines<'a>(chunks: impl Iterator<Item = &'a [u8]>, limit: usize) -> Vec<Option<Vec<u8>>> {
    let (mut splitter, mut found) = (LineSplitter::new(), Vec::new());
    for mut chunk in chunks {
        while let Some(line) = splitter.next(&mut chunk, limit) {
            match line {
                Line::Whole(line) => found.push(Some(line.to_vec())),
                Line::TooLong => {
                    found.push(None);
                    return found;
                }
            }
        }
        assert!(chunk.is_empty(), "what is no whole line is kept by the splitter");
    }
    found
}

/// What is understood can be said again, and means the same.
fn understand(line: &[u8]) {
    match Frame::parse(line) {
        Ok(Frame::Hello(hello)) => {
            let again = Encoded::hello(&hello);
            let bytes = again.bytes().strip_suffix(b"\n").expect("a line ends");
            assert!(bytes.len() <= MAX_LINE);
            assert_eq!(Frame::parse(bytes), Ok(Frame::Hello(hello)));
        }
        Ok(Frame::Other { msgtype, text }) => {
            assert!(!peerage::wire::frame::CORE_MSGTYPES.contains(&&*msgtype));
            assert_eq!(text.as_bytes(), line);
        }
        Ok(Frame::Addr(entries)) => assert!(entries.len() <= line.len()),
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty() && error.to_string().len() < 1024),
    }
}
