//! Bytes as a stranger sends them: cut into lines however they arrive, and each line understood.

use peerage::wire::{
    Encoded, Fields, Frame, Gathering, Line, LineSplitter, MAX_ATTACHMENT, MAX_HELLO_LINE,
    MAX_LINE, Value, attachment::take_whole,
};

/// The first byte says how the others arrive, and how long lines may be.
pub(crate) fn run(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let limit = if how & 1 == 0 { MAX_HELLO_LINE } else { 32 };
    let step = usize::from(how >> 1).max(1);
    let in_parts = messages(bytes.chunks(step), limit);
    let at_once = messages(std::iter::once(bytes), limit);
    assert_eq!(in_parts, at_once, "where bytes are split into segments means nothing");
    for (line, attachment) in at_once.iter().flatten() {
        assert!(line.len() <= limit && !line.contains(&b'\n'));
        understand(line, attachment.len());
        find_fields(line);
    }
}

/// What is found without a parser is what a parser finds.
fn find_fields(line: &[u8]) {
    let mut fields = Fields::default();
    let Some(flat) = str::from_utf8(line).ok().and_then(|line| fields.read(line)) else { return };
    let parsed: serde_json::Map<_, _> = serde_json::from_slice(line).expect("a flat line is JSON");
    assert_eq!(flat.fields().count(), parsed.len());
    for (name, value) in flat.fields() {
        let value: serde_json::Value = match value {
            Value::Text(text) => text.into(),
            Value::Number(number) => number.into(),
            Value::Truth(truth) => truth.into(),
            Value::Null => serde_json::Value::Null,
        };
        let name = str::from_utf8(name).expect("names are UTF-8");
        assert_eq!(parsed.get(name), Some(&value));
    }
}

/// Each line with its attachment, `None` for one that is too long, up to which they are compared.
fn messages<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
    limit: usize,
) -> Vec<Option<(Vec<u8>, Vec<u8>)>> {
    let (mut splitter, mut found) = (LineSplitter::new(), Vec::new());
    let mut incoming: Option<(Vec<u8>, Gathering)> = None;
    for mut chunk in chunks {
        if let Some((line, mut gathering)) = incoming.take() {
            if gathering.take(&mut chunk) {
                found.push(Some((line, gathering.into_bytes().into())));
            } else {
                incoming = Some((line, gathering));
            }
        }
        while incoming.is_none()
            && let Some(line) = splitter.next(&mut chunk, limit)
        {
            let Line::Whole(line) = line else {
                found.push(None);
                return found;
            };
            let attach = match Frame::parse(line) {
                Ok(Frame::Other { attach, .. }) => attach,
                _ => 0,
            };
            if let Some(attachment) = take_whole(&mut chunk, attach) {
                found.push(Some((line.to_vec(), attachment.into())));
            } else {
                let mut gathering = Gathering::keep(attach);
                assert!(!gathering.take(&mut chunk), "it would have been there whole");
                incoming = Some((line.to_vec(), gathering));
            }
        }
        assert!(chunk.is_empty(), "what is no whole message is kept");
    }
    found
}

/// What is understood can be said again, and means the same.
fn understand(line: &[u8], attached: usize) {
    match Frame::parse(line) {
        Ok(Frame::Hello(hello)) => {
            let again = Encoded::hello(&hello);
            let bytes = again.bytes().strip_suffix(b"\n").expect("a line ends");
            assert!(bytes.len() <= MAX_LINE);
            assert_eq!(Frame::parse(bytes), Ok(Frame::Hello(hello)));
        }
        Ok(Frame::Other { msgtype, text, attach }) => {
            assert!(attach == attached && attach <= MAX_ATTACHMENT);
            assert!(!peerage::wire::frame::CORE_MSGTYPES.contains(&&*msgtype));
            assert_eq!(text.as_bytes(), line);
        }
        Ok(Frame::Addr(entries)) => assert!(entries.len() <= line.len()),
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty() && error.to_string().len() < 1024),
    }
}
