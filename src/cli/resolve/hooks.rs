//! The operator's program, if there is one, and what it is told.

use std::collections::BTreeSet;

use peerage::{
    control::{hooks::Hook, model::Event, topics::MAX_TOPICS},
    overlay::Topic,
};

use super::{
    parse::{Wrong, wrong},
    pick::pick,
};
use crate::cli::{
    error::UsageError,
    layer::{Layers, Sourced},
};

/// `[hooks]` of the configuration file.
pub(super) fn resolve_hook(layers: &Layers) -> Result<Option<Sourced<Hook>>, UsageError> {
    let program =
        pick(layers, "hooks.program", |layer| layer.hooks.program.as_deref(), parse_program)?;
    let only = pick(layers, "hooks.only", |layer| layer.hooks.only.as_deref(), parse_only)?;
    let topics = pick(layers, "hooks.topics", |layer| layer.hooks.topics.as_deref(), parse_topics)?;
    let Some(Sourced { value: (program, args), origin }) = program else {
        let only = only.map(|only| only.origin.of("hooks.only"));
        let rest = only.or_else(|| topics.map(|topics| topics.origin.of("hooks.topics")));
        return rest.map_or(Ok(None), |rest| Err(UsageError::NoHookProgram(rest)));
    };
    let hook = Hook {
        args,
        only: only.map(|only| only.value).unwrap_or_default(),
        topics: topics.map(|topics| topics.value).unwrap_or_default(),
        ..Hook::new(program)
    };
    Ok(Some(Sourced { value: hook, origin }))
}

/// A program and its arguments.
fn parse_program(words: &[String]) -> Result<(String, Vec<String>), Wrong> {
    if let Some(word) = words.iter().find(|word| word.contains('\0')) {
        return wrong(word, "no program can be given a NUL byte");
    }
    match words.split_first() {
        Some((program, args)) if !program.is_empty() => Ok((program.clone(), args.to_vec())),
        _ => wrong("", "expected a program and its arguments, as a list of strings"),
    }
}

/// Names of events.
fn parse_only(names: &[String]) -> Result<BTreeSet<String>, Wrong> {
    for name in names {
        if !Event::NAMES.contains(&name.as_str()) {
            let why = format!("no event is called that; they are {}", Event::NAMES.join(", "));
            return Err(Wrong { part: name.clone(), why });
        }
    }
    Ok(names.iter().cloned().collect())
}

/// Names of topics, each once.
fn parse_topics(names: &[String]) -> Result<Vec<Topic>, Wrong> {
    let mut topics = BTreeSet::new();
    for name in names {
        let topic = Topic::new(name);
        topics.insert(topic.map_err(|error| Wrong { part: name.clone(), why: error.to_string() })?);
    }
    if topics.len() > MAX_TOPICS {
        return wrong("", "a node takes 256 topics at most");
    }
    Ok(topics.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::layer::{HookLayer, Layer, Origin};

    fn hook(
        program: Option<&[&str]>,
        only: Option<&[&str]>,
        topics: Option<&[&str]>,
    ) -> Result<Option<Sourced<Hook>>, UsageError> {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let hooks = HookLayer {
            program: program.map(list),
            only: only.map(list),
            topics: topics.map(list),
        };
        let file = Some(("n.toml".into(), Layer { hooks, ..Layer::default() }));
        resolve_hook(&Layers { file, ..Layers::default() })
    }

    #[track_caller]
    fn refused(hook: Result<Option<Sourced<Hook>>, UsageError>) -> String {
        hook.unwrap_err().to_string()
    }

    #[test]
    fn a_hook_is_a_program_and_what_it_is_told() {
        assert_eq!(hook(None, None, None), Ok(None));
        let all = hook(Some(&["p", "a b", ""]), Some(&["message", "peer-up"]), Some(&["t", "t"]));
        let Sourced { value, origin } = all.unwrap().unwrap();
        assert_eq!(origin, Origin::File("n.toml".into()));
        assert_eq!(
            (value.program.as_str(), value.args),
            ("p", vec!["a b".to_owned(), String::new()])
        );
        assert_eq!(value.only.len(), 2);
        assert_eq!(value.topics, [Topic::new("t").unwrap()]);
        assert_eq!(hook(Some(&["p"]), None, None).unwrap().unwrap().value, Hook::new("p"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        for program in [&[][..], &[""], &["", "x"], &["p", "a\0"]] {
            let text = refused(hook(Some(program), None, None));
            assert!(text.contains("for \"hooks.program\" in n.toml"), "{text}");
        }
        let text = refused(hook(Some(&["p"]), Some(&["peer-upp"]), None));
        assert!(text.starts_with("bad value \"peer-upp\" for \"hooks.only\" in n.toml"), "{text}");
        assert!(text.contains("peer-changed"), "{text}");
        let text = refused(hook(Some(&["p"]), None, Some(&["ok", ""])));
        assert!(text.starts_with("bad value \"\" for \"hooks.topics\""), "{text}");
        let many: Vec<String> = (0..=MAX_TOPICS).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(refused(hook(Some(&["p"]), None, Some(&many))).contains("256"));
        assert!(hook(Some(&["p"]), None, Some(&many[1..])).is_ok());
    }

    #[test]
    fn what_it_is_told_is_of_no_use_without_a_program() {
        assert!(refused(hook(None, Some(&[]), None)).starts_with("\"hooks.only\" in n.toml is"));
        assert!(refused(hook(None, None, Some(&["t"]))).starts_with("\"hooks.topics\" in n.toml"));
    }
}
