//! The operator's manual names what there is.

use clap::CommandFactory;

const MANUAL: &str = include_str!("../../../docs/OPERATING.md");

#[test]
fn every_flag_has_a_variable_and_stands_in_the_manual() {
    let cli = sluice_relay::config::Cli::command();
    let mut count = 0;
    for command in std::iter::once(&cli).chain(cli.get_subcommands()) {
        for flag in command.get_arguments() {
            let Some(long) = flag
                .get_long()
                .filter(|long| !["help", "version"].contains(long))
            else {
                continue;
            };
            let want = format!("SLUICE_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(
                flag.get_env().and_then(|env| env.to_str()),
                Some(want.as_str()),
                "--{long}"
            );
            let named =
                MANUAL.contains(&format!("`--{long}`")) || MANUAL.contains(&format!("`--{long} "));
            assert!(named, "docs/OPERATING.md does not name --{long}");
            count += 1;
        }
        let name = command.get_name();
        let said = match name {
            "sluice" => "`sluice`".to_owned(),
            name => format!("`sluice {name}"),
        };
        assert!(MANUAL.contains(&said), "docs/OPERATING.md lacks {said}`");
    }
    assert!(count > 40);
}
