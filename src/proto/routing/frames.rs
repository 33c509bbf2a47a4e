//! What travels about a routed message: its addressing forwards, its outcome back.
//!
//! # Security
//! All of it may come from a stranger. Every field has a fixed or bounded size.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    identity::PublicKey,
    ids::{MessageId, NodeId, digits},
    proto::journal::cut,
    wire::{Flat, Value},
};

/// The longest `why` of a refusal, in bytes; the rest is cut off.
pub const MAX_WHY: usize = 64;

/// What only the reader of a message can say about it, to prove that the answer is its own.
pub type Proof = [u8; 16];

/// The addressing of a message to one node: the line `route`. Its body is the attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whom it is for.
    pub to: NodeId,
    /// Who it is said to be from.
    pub from: NodeId,
    /// Which message it is.
    pub id: MessageId,
    /// How many steps it has taken with this one, those into dead ends included.
    pub hops: u8,
    /// It has no body and asks for the public key of the node it is for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key: bool,
}

impl Head {
    /// What serde would make of a flat line. None is left to serde.
    #[must_use]
    pub fn of_flat(line: Flat<'_, '_>) -> Option<Self> {
        let (mut to, mut from, mut id, mut hops, mut key) = (None, None, None, None, false);
        for (name, value) in line.fields() {
            match (name, value) {
                (b"to", Value::Text(text)) => to = Some(text.parse().ok()?),
                (b"from", Value::Text(text)) => from = Some(text.parse().ok()?),
                (b"id", Value::Text(text)) => id = Some(text.parse().ok()?),
                (b"hops", Value::Number(n)) => hops = Some(u8::try_from(n).ok()?),
                (b"key", Value::Truth(is_key)) => key = is_key,
                (b"to" | b"from" | b"id" | b"hops" | b"key", _) => return None,
                _ => {}
            }
        }
        Some(Self { to: to?, from: from?, id: id?, hops: hops?, key })
    }

    /// Appends what serde would.
    pub fn write(&self, json: &mut Vec<u8>) {
        json.extend_from_slice(b"{\"to\":\"");
        self.to.append(json);
        json.extend_from_slice(b"\",\"from\":\"");
        self.from.append(json);
        json.extend_from_slice(b"\",\"id\":\"");
        json.extend_from_slice(&digits::write(*self.id.as_bytes()));
        json.extend_from_slice(b"\",\"hops\":");
        append_number(json, self.hops);
        json.extend_from_slice(if self.key { b",\"key\":true}" } else { b"}" });
    }
}

fn append_number(json: &mut Vec<u8>, number: u8) {
    let digits = [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit);
    let first = if number >= 100 { 0 } else { 1 + usize::from(number < 10) };
    json.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No answer came in time.
    Timeout,
    /// Every node on the way that could take it could take no more just then.
    Busy,
    /// A node on the way cannot carry as much.
    TooLarge,
    /// The node it is for would not have it.
    Refused,
    /// The node it is for has it.
    Delivered,
    /// Nobody knows a way that was not tried. What a later version may say else counts as this.
    #[serde(other)]
    NoRoute,
}

impl Outcome {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoRoute => "no-route",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::TooLarge => "too-large",
            Self::Refused => "refused",
            Self::Delivered => "delivered",
        }
    }

    /// What a code stands for; any that is not known stands for [`NoRoute`](Self::NoRoute).
    fn of_code(code: &str) -> Self {
        let all = [Self::Timeout, Self::Busy, Self::TooLarge, Self::Refused, Self::Delivered];
        all.into_iter().find(|outcome| outcome.code() == code).unwrap_or(Self::NoRoute)
    }

    /// Of several reasons why there is no way, the one that explains more has the higher rank.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Delivered | Self::NoRoute | Self::Timeout => 0,
            Self::Busy => 1,
            Self::TooLarge => 2,
            Self::Refused => 3,
        }
    }

    /// Whether only the node that the message is for can say so.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Refused)
    }
}

/// What became of a message: the line `routed`, which goes back the way that the message came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Which message.
    pub id: MessageId,
    /// What became of it.
    pub outcome: Outcome,
    /// How many steps it had taken where this was said.
    pub hops: u8,
    /// Why it was refused: a code.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "short_why")]
    pub why: Option<Cow<'static, str>>,
    /// That the node it was for has read it and says this.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex_proof")]
    pub proof: Option<Proof>,
    /// The public key that was asked for. It proves itself: the id is its hash.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex_key")]
    pub key: Option<PublicKey>,
}

impl Reply {
    /// An outcome and nothing more.
    #[must_use]
    pub const fn new(id: MessageId, outcome: Outcome, hops: u8) -> Self {
        Self { id, outcome, hops, why: None, proof: None, key: None }
    }

    /// What serde would make of a flat line. None is left to serde.
    #[must_use]
    pub fn of_flat(line: Flat<'_, '_>) -> Option<Self> {
        let (mut id, mut outcome, mut hops, mut proof) = (None, None, None, None);
        for (name, value) in line.fields() {
            match (name, value) {
                (b"id", Value::Text(text)) => id = Some(text.parse().ok()?),
                (b"outcome", Value::Text(code)) => outcome = Some(Outcome::of_code(code)),
                (b"hops", Value::Number(n)) => hops = Some(u8::try_from(n).ok()?),
                (b"proof", Value::Text(text)) => proof = Some(digits::read(text)?),
                // Refusals and keys are rare.
                (b"id" | b"outcome" | b"hops" | b"proof" | b"why" | b"key", _) => return None,
                _ => {}
            }
        }
        Some(Self { id: id?, outcome: outcome?, hops: hops?, why: None, proof, key: None })
    }

    /// Appends what serde would, if there is nothing rare in it. Whether that was so.
    pub fn write(&self, json: &mut Vec<u8>) -> bool {
        if self.why.is_some() || self.key.is_some() {
            return false;
        }
        json.extend_from_slice(b"{\"id\":\"");
        json.extend_from_slice(&digits::write(*self.id.as_bytes()));
        json.extend_from_slice(b"\",\"outcome\":\"");
        json.extend_from_slice(self.outcome.code().as_bytes());
        json.extend_from_slice(b"\",\"hops\":");
        append_number(json, self.hops);
        if let Some(proof) = self.proof {
            json.extend_from_slice(b",\"proof\":\"");
            json.extend_from_slice(&digits::write(proof));
            json.push(b'"');
        }
        json.push(b'}');
        true
    }

    /// Whether it may come from the node that the message was for, as far as one can tell who
    /// cannot read the message.
    pub(super) const fn is_plausible(&self) -> bool {
        self.outcome.is_final() && (self.proof.is_some() || self.key.is_some())
    }
}

/// A code of another version must neither be long nor write into a terminal.
fn short_why<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Cow<'static, str>>, D::Error> {
    let why = Option::<Cow<'de, str>>::deserialize(d)?;
    Ok(why.map(|why| {
        let printable: String = why.chars().filter(|c| !c.is_control()).take(MAX_WHY).collect();
        cut(printable.into(), MAX_WHY)
    }))
}

/// So many bytes, as hex digits.
struct Hex<const N: usize>([u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor)
    }
}

struct HexVisitor<const N: usize>;

impl<const N: usize> de::Visitor<'_> for HexVisitor<N> {
    type Value = Hex<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hex digits", 2 * N)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Hex<N>, E> {
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).map_err(E::custom)?;
        Ok(Hex(bytes))
    }
}

mod hex_proof {
    use super::{Deserialize, Deserializer, Hex, Proof, Serializer};

    pub(super) fn serialize<S: Serializer>(proof: &Option<Proof>, s: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0; 32];
        let proof = proof.unwrap_or_default();
        // Sixteen bytes have 32 digits, and digits are text.
        let text = hex::encode_to_slice(proof, &mut digits).ok();
        s.serialize_str(text.and_then(|()| str::from_utf8(&digits).ok()).unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Proof>, D::Error> {
        Ok(Option::<Hex<16>>::deserialize(d)?.map(|Hex(bytes)| bytes))
    }
}

mod hex_key {
    use super::{Deserialize, Deserializer, Hex, PublicKey, Serializer};

    pub(super) fn serialize<S: Serializer>(
        key: &Option<PublicKey>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match key {
            Some(key) => s.collect_str(key),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D>(d: D) -> Result<Option<PublicKey>, D::Error>
    where
        D: Deserializer<'de>,
    {
        Ok(Option::<Hex<32>>::deserialize(d)?.map(|Hex(bytes)| PublicKey::from_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Fields;

    /// The field's text, or one of a few things that it should not be, or nothing.
    fn field(
        name: &'static str,
        fine: impl Strategy<Value = String>,
    ) -> impl Strategy<Value = String> {
        let odd = ["null", "7", "256", "-1", "true", "\"x\"", "[]", "\"\\u0061\"", "1.0", "\"\""];
        let odd = proptest::sample::select(odd.to_vec()).prop_map(str::to_owned);
        let value = prop_oneof![6 => fine, 1 => odd];
        let field = value.prop_map(move |value| format!("\"{name}\":{value}"));
        prop_oneof![9 => field, 1 => Just("\"other\":1".to_owned())]
    }

    fn uuid() -> impl Strategy<Value = String> {
        any::<u128>().prop_map(|id| format!("\"{}\"", NodeId::from_u128(id)))
    }

    fn hex_of(n: usize) -> impl Strategy<Value = String> {
        proptest::string::string_regex(&format!("\"[0-9a-fA-F]{{{n}}}\"")).unwrap()
    }

    fn line(fields: &[String]) -> String {
        format!("{{{}}}", fields.join(","))
    }

    fn agree<T>(line: &str, read: impl Fn(Flat<'_, '_>) -> Option<T>)
    where
        T: PartialEq + fmt::Debug + for<'de> Deserialize<'de>,
    {
        let mut fields = Fields::default();
        if let Some(message) = fields.read(line).and_then(read) {
            assert_eq!(serde_json::from_str::<T>(line).unwrap(), message, "{line}");
        }
    }

    fn reread<T: Serialize>(message: &T, json: &[u8]) {
        assert_eq!(serde_json::to_vec(message).unwrap(), json);
    }

    proptest! {
        #[test]
        fn a_head_is_read_and_written_as_serde_does(
            fields in (
                field("to", uuid()), field("from", uuid()), field("id", hex_of(32)),
                field("hops", (0..300_u32).prop_map(|n| n.to_string())),
                field("key", any::<bool>().prop_map(|key| key.to_string())),
            ),
            (to, from, id, hops, key) in any::<(u128, u128, [u8; 16], u8, bool)>(),
        ) {
            let (to_field, from_field, id_field, hops_field, key_field) = fields;
            agree(&line(&[to_field, from_field, id_field, hops_field, key_field]), Head::of_flat);
            let (to, from) = (NodeId::from_u128(to), NodeId::from_u128(from));
            let head = Head { to, from, id: MessageId::from_bytes(id), hops, key };
            let mut json = Vec::new();
            head.write(&mut json);
            reread(&head, &json);
            let text = String::from_utf8(json).unwrap();
            let mut fields = Fields::default();
            prop_assert_eq!(fields.read(&text).and_then(Head::of_flat), Some(head));
        }

        #[test]
        fn a_reply_is_read_and_written_as_serde_does(
            fields in (
                field("id", hex_of(32)),
                field("outcome", "\"(timeout|busy|too-large|refused|delivered|no-route|later)\""),
                field("hops", (0..300_u32).prop_map(|n| n.to_string())),
                field("why", "\"[a-z]{0,70}\""), field("proof", hex_of(32)), field("key", hex_of(64)),
            ),
            n_fields in 3..7_usize,
            (id, hops, proof, n) in any::<([u8; 16], u8, Option<[u8; 16]>, u8)>(),
        ) {
            let (id_field, outcome, hops_field, why, proof_field, key) = fields;
            let all = [id_field, outcome, hops_field, proof_field, why, key];
            agree(&line(&all[..n_fields]), Reply::of_flat);
            let codes = ["timeout", "busy", "too-large", "refused", "delivered", "no-route"];
            let outcome = Outcome::of_code(codes[usize::from(n) % codes.len()]);
            let reply = Reply { proof, ..Reply::new(MessageId::from_bytes(id), outcome, hops) };
            let mut json = Vec::new();
            prop_assert!(reply.write(&mut json));
            reread(&reply, &json);
            let text = String::from_utf8(json).unwrap();
            let mut fields = Fields::default();
            prop_assert_eq!(fields.read(&text).and_then(Reply::of_flat), Some(reply));
        }
    }

    #[test]
    fn what_is_rare_in_a_reply_is_left_to_serde() {
        let reply = Reply::new(MessageId::from_bytes([7; 16]), Outcome::Refused, 3);
        let refused = Reply { why: Some("busy".into()), ..reply };
        assert!(!refused.write(&mut Vec::new()));
    }
}
