//! Words against layers.

use super::*;

fn typed(args: &[&str]) -> Typed {
    let args = ["peerage", "run"].iter().chain(args).map(OsString::from).collect();
    match parse(args) {
        Ok(Invocation::Run(typed)) => *typed,
        other => panic!("{other:?}"),
    }
}

fn refused(args: &[&str]) -> String {
    let args = ["peerage"].iter().chain(args).map(OsString::from).collect();
    parse(args).unwrap_err().to_string()
}

#[test]
fn the_command_is_consistent() {
    command().debug_assert();
}

#[test]
fn lists_may_be_repeated_or_separated_by_commas() {
    let flags = typed(&["--listen", "a:1,b:2", "--listen", "c:3"]).flags;
    assert_eq!(flags.listen.unwrap(), ["a:1", "b:2", "c:3"]);
}

#[test]
fn a_switch_is_true_alone_and_takes_a_value_after_an_equals_sign() {
    let flags = typed(&["--ephemeral", "--no-api=false"]).flags;
    assert_eq!(flags.ephemeral.as_deref(), Some("true"));
    assert_eq!(flags.no_api.as_deref(), Some("false"));
}

#[test]
fn limits_are_placed_by_their_keys() {
    let flags = typed(&["--max-inbound", "7", "--outbox-bytes=x"]).flags;
    let expected = [("max-inbound", "7".to_owned()), ("outbox-bytes", "x".to_owned())];
    assert_eq!(flags.limits, expected.into());
}

#[test]
fn the_flags_of_id_may_stand_on_both_sides_of_new() {
    for (args, is_new) in [
        (&["id", "--data-dir", "d", "--json"][..], false),
        (&["id", "new", "--data-dir", "d", "--json"], true),
        (&["id", "--data-dir", "d", "new", "--json"], true),
    ] {
        let args = ["peerage"].iter().chain(args).map(OsString::from).collect();
        let Ok(Invocation::Id(typed, options)) = parse(args) else { panic!("not id") };
        assert_eq!(typed.flags.data_dir, Some("d".into()));
        assert_eq!(options, IdOptions { is_new, is_json: true });
    }
}

#[test]
fn every_setting_has_its_variable_and_its_key_in_the_long_help() {
    let command = command();
    for name in ["run", "config"] {
        let sub = command.find_subcommand(name).unwrap();
        for (key, _) in print::default_values(&resolve::Settings::by_default(None)) {
            let arg = sub.get_arguments().find(|arg| arg.get_long() == Some(key));
            let help = arg.unwrap().get_long_help().unwrap().to_string();
            let facts = format!("[env: {}] [key: {key}]", env_name(key));
            assert!(help.contains(&facts), "{key}: {help}");
        }
    }
}

#[test]
fn every_variable_is_named_after_its_flag() {
    for sub in Cli::command().get_subcommands() {
        for arg in sub.get_arguments().filter(|arg| arg.get_env().is_some()) {
            let name = arg.get_env().unwrap().to_str().unwrap();
            assert_eq!(name, env_name(arg.get_long().unwrap()));
        }
    }
}

#[test]
fn errors_are_one_line_with_claps_tip_and_without_its_usage() {
    let text = refused(&["run", "--lisen", "x"]);
    assert!(text.starts_with("unexpected argument '--lisen' found; "), "{text}");
    assert!(text.contains("'--listen'"), "{text}");
    assert!(text.ends_with("; see --help"), "{text}");
    for args in [&["run", "--listen"][..], &["devnet", "--nodes", "51"], &["rum"], &["run", "x"]] {
        let text = refused(args);
        assert!(!text.contains('\n') && !text.contains("Usage"), "{text}");
    }
}
