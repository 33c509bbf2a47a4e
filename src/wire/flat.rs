//! Lines without structure: JSON objects whose values are plain texts, small numbers, truth values and
//! null, written without spaces. Most of what nodes say to each other is so, and is read here in one pass
//! and in place. What is written otherwise (it may still be JSON) is left to `serde_json`.
//!
//! # Security
//! A line that is flat is one that `serde_json` reads, with the same fields and values: whatever is in
//! doubt is not flat. So which of the two reads a line changes how long that takes and nothing else.

/// The most fields of a flat line.
pub const MAX_FIELDS: usize = 12;

/// The most digits of a flat number: so many fit in 64 bits, whatever they are.
const MAX_DIGITS: usize = 18;

/// A value of a flat line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A text without escapes.
    Text(&'a str),
    /// A whole number that is not negative.
    Number(u64),
    /// `true` or `false`.
    Truth(bool),
    /// `null`.
    Null,
}

/// Where the fields of the line stand that was read last. One of these serves any number of lines.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    places: [Place; MAX_FIELDS],
    n: usize,
    /// How long the line is; none if it is not flat.
    line: Option<usize>,
}

/// A flat line and its fields.
#[derive(Debug, Clone, Copy)]
pub struct Flat<'l, 'f> {
    line: &'l str,
    places: &'f [Place],
}

#[derive(Debug, Clone, Copy)]
struct Place {
    name: Span,
    value: Found,
}

/// A part of a line. Lines are shorter than 64 KiB; those that are not are not flat.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    begin: u16,
    end: u16,
}

#[derive(Debug, Clone, Copy)]
enum Found {
    Text(Span),
    Number(u64),
    Truth(bool),
    Null,
}

impl Default for Place {
    fn default() -> Self {
        Self { name: Span::default(), value: Found::Null }
    }
}

impl Fields {
    /// Reads a line. None if it is not flat.
    pub fn read<'l>(&mut self, line: &'l str) -> Option<Flat<'l, '_>> {
        self.line = None;
        self.n = 0;
        if u16::try_from(line.len()).is_ok() && self.find(line.as_bytes()).is_some() {
            self.line = Some(line.len());
        }
        self.last(line)
    }

    /// The same line again that was read last, if it is flat.
    #[must_use]
    pub fn last<'l>(&self, line: &'l str) -> Option<Flat<'l, '_>> {
        let places = self.places.get(..self.n)?;
        (self.line == Some(line.len())).then_some(Flat { line, places })
    }

    /// No line was read, or none that is flat.
    pub const fn clear(&mut self) {
        self.line = None;
    }

    fn find(&mut self, line: &[u8]) -> Option<()> {
        let mut reader = Reader { line, at: 0 };
        reader.expect(b'{')?;
        if reader.peek()? == b'}' {
            reader.at += 1;
        } else {
            // Names that differ in length or in an end, which is nearly all, need no further look.
            let mut seen = 0_u64;
            loop {
                reader.expect(b'"')?;
                let name = reader.text(reader.at)?;
                reader.expect(b':')?;
                let value = reader.value()?;
                let bit = 1 << sketch(line, name);
                if seen & bit != 0 && self.is_known(line, name) {
                    return None;
                }
                seen |= bit;
                *self.places.get_mut(self.n)? = Place { name, value };
                self.n += 1;
                match reader.next()? {
                    b',' => {}
                    b'}' => break,
                    _ => return None,
                }
            }
        }
        (reader.at == line.len()).then_some(())
    }

    fn is_known(&self, line: &[u8], name: Span) -> bool {
        let known = self.places.get(..self.n).unwrap_or_default();
        known.iter().any(|place| place.name.of(line) == name.of(line))
    }
}

/// A number below 64 that names of the same letters have in common.
fn sketch(line: &[u8], name: Span) -> u8 {
    let name = name.of(line);
    let ends = name.first().zip(name.last()).map_or(0, |(a, b)| a.wrapping_mul(5) ^ b);
    (ends ^ (name.len() as u8).wrapping_mul(11)) & 63
}

impl Span {
    fn of(self, line: &[u8]) -> &[u8] {
        line.get(usize::from(self.begin)..usize::from(self.end)).unwrap_or_default()
    }

    fn text(self, line: &str) -> &str {
        line.get(usize::from(self.begin)..usize::from(self.end)).unwrap_or_default()
    }
}

impl<'l, 'f> Flat<'l, 'f> {
    /// The whole line.
    #[must_use]
    pub const fn line(self) -> &'l str {
        self.line
    }

    /// The fields in their order, `msgtype` among them. No name is there twice. Names are UTF-8.
    pub fn fields(self) -> impl Iterator<Item = (&'l [u8], Value<'l>)> + use<'l, 'f> {
        let Self { line, places } = self;
        places.iter().map(move |place| (place.name.of(line.as_bytes()), place.value(line)))
    }
}

impl Place {
    fn value(self, line: &str) -> Value<'_> {
        match self.value {
            Found::Text(span) => Value::Text(span.text(line)),
            Found::Number(number) => Value::Number(number),
            Found::Truth(truth) => Value::Truth(truth),
            Found::Null => Value::Null,
        }
    }
}

struct Reader<'a> {
    line: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn value(&mut self) -> Option<Found> {
        match self.next()? {
            b'"' => {
                let begin = self.at;
                // Ids are as long as this, or somewhat longer.
                while let Some(bytes) = self.line.get(self.at..)?.first_chunk()
                    && !has_marks(bytes)
                {
                    self.at += bytes.len();
                }
                self.text(begin).map(Found::Text)
            }
            digit @ b'0'..=b'9' => self.number(digit).map(Found::Number),
            b't' => self.word(b"rue", Found::Truth(true)),
            b'f' => self.word(b"alse", Found::Truth(false)),
            b'n' => self.word(b"ull", Found::Null),
            _ => None,
        }
    }

    fn word(&mut self, rest: &[u8], found: Found) -> Option<Found> {
        let is_it = self.line.get(self.at..)?.starts_with(rest);
        self.at += rest.len();
        is_it.then_some(found)
    }

    /// A number whose first digit was read. What follows it, were it part of a number, is no end of a
    /// value.
    fn number(&mut self, first: u8) -> Option<u64> {
        let (mut number, begin) = (u64::from(first - b'0'), self.at);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if number == 0 || self.at - begin + 1 >= MAX_DIGITS {
                return None;
            }
            number = number * 10 + u64::from(digit - b'0');
            self.at += 1;
        }
        Some(number)
    }

    /// The rest of a text that begins there, up to and past the closing quote.
    fn text(&mut self, begin: usize) -> Option<Span> {
        // Eight bytes at a time, as long as there are as many.
        while let Some(bytes) = self.line.get(self.at..)?.first_chunk() {
            let marks = marks(u64::from_le_bytes(*bytes));
            self.at += (marks.trailing_zeros() / 8) as usize;
            if marks != 0 {
                return self.end_text(begin);
            }
        }
        while self.peek()? >= b' ' && !matches!(self.peek()?, b'"' | b'\\') {
            self.at += 1;
        }
        self.end_text(begin)
    }

    fn end_text(&mut self, begin: usize) -> Option<Span> {
        let end = self.at;
        self.expect(b'"')?;
        Some(Span { begin: u16::try_from(begin).ok()?, end: u16::try_from(end).ok()? })
    }
}

/// Whether a byte of these is a quote, a backslash or a control character.
fn has_marks(bytes: &[u8; 32]) -> bool {
    // Without a branch between them.
    let (words, _) = bytes.as_chunks();
    words.iter().fold(0, |found, word| found | marks(u64::from_le_bytes(*word))) != 0
}

/// The first byte of eight that is a quote, a backslash or a control character, as the lowest bit that is
/// set in the answer; none if there is no such byte.
const fn marks(bytes: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // The usual trick: what is subtracted borrows from a byte's highest bit if the byte is smaller. Only
    // bytes after the first that is found may be found wrongly.
    let quote = bytes ^ (ONES * b'"' as u64);
    let backslash = bytes ^ (ONES * b'\\' as u64);
    let found = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (bytes.wrapping_sub(ONES * 0x20) & !bytes);
    found & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json};

    use super::*;

    fn fields(line: &str) -> Option<Vec<(String, Json)>> {
        let mut fields = Fields::default();
        let flat = fields.read(line)?;
        let text = |name: &[u8]| str::from_utf8(name).unwrap().to_owned();
        Some(flat.fields().map(|(name, value)| (text(name), json(value))).collect())
    }

    fn json(value: Value<'_>) -> Json {
        match value {
            Value::Text(text) => text.into(),
            Value::Number(number) => number.into(),
            Value::Truth(truth) => truth.into(),
            Value::Null => Json::Null,
        }
    }

    /// What serde makes of a line that is flat is the same.
    fn agrees(line: &str) {
        if let Some(fields) = fields(line) {
            let read: Map<String, Json> = serde_json::from_str(line).expect(line);
            let n = fields.len();
            assert_eq!(read, fields.into_iter().collect(), "{line}");
            assert_eq!(read.len(), n, "{line}");
        }
    }

    #[test]
    fn a_flat_line_is_read_in_place() {
        let line = r#"{"msgtype":"täst","n":0,"max":999999999999999999,"t":true,"f":false,"none":null,"":""}"#;
        let expected = [
            (&b"msgtype"[..], Value::Text("täst")),
            (b"n", Value::Number(0)),
            (b"max", Value::Number(999_999_999_999_999_999)),
            (b"t", Value::Truth(true)),
            (b"f", Value::Truth(false)),
            (b"none", Value::Null),
            (b"", Value::Text("")),
        ];
        let mut fields = Fields::default();
        assert!(fields.read(line).unwrap().fields().eq(expected));
        assert!(fields.last(line).unwrap().fields().eq(expected));
        assert_eq!(fields.read("{}").unwrap().fields().count(), 0);
        assert!(fields.read("[]").is_none() && fields.last("[]").is_none());
        assert!(fields.read(line).is_some());
        fields.clear();
        assert!(fields.last(line).is_none());
    }

    #[test]
    fn whatever_is_in_doubt_is_not_flat() {
        for line in [
            "",
            "{",
            "{}x",
            "{} ",
            " {}",
            r#"{"a":1,}"#,
            r#"{"a":1"#,
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a" :1}"#,
            r#"{"a":"\n"}"#,
            r#"{"\u0061":1}"#,
            "{\"a\":\"\t\"}",
            "{\"a\":\"01234567\u{0}\"}",
            r#"{"a":01}"#,
            r#"{"a":00}"#,
            r#"{"a":-1}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1e5}"#,
            r#"{"a":1000000000000000000}"#,
            r#"{"a":tru}"#,
            r#"{"a":truex}"#,
            r#"{"a":nul"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"c":3,"b":2}"#,
            r#"{"a":"unended}"#,
            r#"{"a":1"b":2}"#,
        ] {
            assert_eq!(fields(line), None, "{line}");
        }
        let many = |n: usize| {
            let fields: Map<_, _> = (0..n).map(|n| (format!("f{n}"), n.into())).collect();
            serde_json::to_string(&fields).unwrap()
        };
        assert_eq!(fields(&many(MAX_FIELDS)).unwrap().len(), MAX_FIELDS);
        assert_eq!(fields(&many(MAX_FIELDS + 1)), None);
        let long = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n - 8));
        assert!(fields(&long(65_535)).is_some());
        assert_eq!(fields(&long(65_536)), None);
    }

    proptest! {
        #[test]
        fn serde_reads_whatever_is_flat_and_reads_the_same(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("{\"".to_owned()), Just("\":".to_owned()), Just(",\"".to_owned()),
                    Just("\"".to_owned()), Just("}".to_owned()), Just("null".to_owned()),
                    Just("true".to_owned()), Just("\\".to_owned()), Just("a".to_owned()),
                    "[0-9]{1,20}", "\"[a-z]{0,9}\"", ".{0,3}",
                ],
                0..14,
            ),
        ) {
            agrees(&pieces.concat());
            agrees(&format!("{{\"a\":{}}}", pieces.concat()));
        }

        #[test]
        fn what_serde_writes_of_plain_values_is_flat(
            texts in proptest::collection::btree_map("[a-z]{1,12}", "[^\\p{Cc}\"\\\\]{0,40}", 0..6),
            numbers in proptest::collection::btree_map("[A-Z]{1,3}", 0..1_000_000_000_u64, 0..6),
        ) {
            let mut map = Map::new();
            map.extend(texts.into_iter().map(|(name, text)| (name, text.into())));
            map.extend(numbers.into_iter().map(|(name, number)| (name, number.into())));
            let line = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(fields(&line).map(|fields| fields.len()), Some(map.len()));
            agrees(&line);
        }

        #[test]
        fn one_byte_put_elsewhere_makes_no_difference_between_the_two(
            at in 0..60_usize,
            byte in any::<u8>(),
        ) {
            let mut line = br#"{"msgtype":"note","n":120,"text":"0123456789","key":true}"#.to_vec();
            let n = line.len();
            line[at % n] = byte;
            if let Ok(line) = str::from_utf8(&line) {
                agrees(line);
            }
        }
    }
}
