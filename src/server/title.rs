//! The process's title: `proc-title-template` with what its variables stand for, shown by `ps` and `top`.
//!
//! ```text
//! {title}        the program, as it was started        {port} {tls-port} {unixsocket}   the parameters
//! {listen-addr}  the first address and the port        {server-mode}                    nothing: neither cluster nor sentinel
//! {config-file}  the configuration file                {{                               a brace
//! ```
//! Source: Redis, `redisProcTitleGetVariable` and redis.conf.

use crate::admin::config::Config;
use crate::admin::params::Id;
use crate::base::argv;
use crate::cmd::world::World;
use std::path::Path;

/// What titles are made of that does not change.
pub struct Title {
    /// How the program was called.
    program: String,
}

impl Title {
    /// Asks how the program was called; to be done before the first title is shown.
    pub fn new() -> Self {
        Title { program: std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned() }
    }
    /// Shows what the parameters say now, unless `set-proc-title` forbids it.
    pub fn show(&self, world: &World) {
        if world.config.number(Id::SET_PROC_TITLE) == 0 {
            return;
        }
        let template = world.config.text(Id::PROC_TITLE_TEMPLATE);
        let file = world.boot.config_file.as_deref();
        let title = expanded(&String::from_utf8_lossy(&template), |name| self.variable(name, &world.config, file));
        argv::show(title.trim_matches(' ').as_bytes());
    }
    fn variable(&self, name: &str, config: &Config, file: Option<&Path>) -> String {
        let port = config.number(Id::PORT);
        let socket = String::from_utf8_lossy(&config.text(Id::UNIXSOCKET)).into_owned();
        match name {
            "title" => self.program.clone(),
            "listen-addr" if port == 0 => socket,
            "listen-addr" => {
                let addresses = config.words(Id::BIND);
                format!("{}:{port}", addresses.first().map_or("*", |address| address.trim_start_matches('-')))
            }
            "port" => port.to_string(),
            "tls-port" => "0".into(),
            "unixsocket" => socket,
            "config-file" => file.map_or_else(String::new, |file| file.to_string_lossy().into_owned()),
            _ => String::new(),
        }
    }
}

/// `template` with its variables replaced. What CONFIG SET lets pass has only known ones.
fn expanded(template: &str, variable: impl Fn(&str) -> String) -> String {
    let mut title = String::new();
    let mut rest = template;
    while let Some((literal, behind)) = rest.split_once('{') {
        title.push_str(literal);
        if let Some(behind) = behind.strip_prefix('{') {
            title.push('{');
            rest = behind;
        } else if let Some((name, behind)) = behind.split_once('}') {
            title.push_str(&variable(name));
            rest = behind;
        } else {
            rest = behind;
        }
    }
    title + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_a_doubled_brace_is_one() {
        let shown = |template: &str| expanded(template, |name| name.to_uppercase());
        assert_eq!(shown("{title} {listen-addr} {server-mode}"), "TITLE LISTEN-ADDR SERVER-MODE");
        assert_eq!(shown("a{{b} {port}"), "a{b} PORT");
        assert_eq!(shown("none"), "none");
    }
}
