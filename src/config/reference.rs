//! The page of the documentation about settings.

use super::declared::ALL;
use super::setting::{Declared, Role};

const HEAD: &str = "\
# Settings

This page is written by the program: `rivus config reference > docs/configuration.md`. How settings are given, and which of them
goes before which, the guide says: [configuration](guide/configuration.md).

A setting `heartbeat_timeout` is the flag `--heartbeat-timeout`, the variable `RIVUS_HEARTBEAT_TIMEOUT` and the key
`heartbeat_timeout`; one with a dot stands in a table of the file: `checkpoint.interval` is `--checkpoint-interval`,
`RIVUS_CHECKPOINT_INTERVAL`, and `interval` below `[checkpoint]`. Where there is no value by default, `none` takes one away that was
given elsewhere. Secrets have no flag, since everybody on a machine can read command lines, and are never printed.
";

/// The page, in Markdown.
pub(crate) fn reference() -> String {
    let mut page = HEAD.to_owned();
    let mut groups: Vec<&[Role]> = Vec::new();
    for setting in ALL {
        if !groups.contains(&setting.roles()) {
            groups.push(setting.roles());
        }
    }
    for roles in groups {
        let names: Vec<String> = roles.iter().map(|role| of(*role)).collect();
        page.push_str(&format!("\n## For {}\n\n", names.join(", ")));
        page.push_str(
            "| setting | flag, variable | value | default | what it is |\n|---|---|---|---|---|\n",
        );
        for setting in ALL.iter().filter(|setting| setting.roles() == roles) {
            page.push_str(&row(*setting));
        }
    }
    page
}

fn of(role: Role) -> String {
    match role {
        Role::Command => "commands that ask".to_owned(),
        role => format!("`{}`", role.name()),
    }
}

fn row(setting: &dyn Declared) -> String {
    let flag = match setting.is_secret() {
        true => String::new(),
        false => format!("`--{}` ", setting.flag()),
    };
    let default = match setting.default() {
        "" => "none".to_owned(),
        text => format!("`{text}`"),
    };
    let kind = match setting.is_secret() {
        true => format!("{}, a secret", setting.expects()),
        false => setting.expects().to_owned(),
    };
    format!(
        "| `{}` | {flag}`{}` | {kind} | {default} | {} |\n",
        setting.key(),
        setting.variable(),
        setting.about()
    )
}
