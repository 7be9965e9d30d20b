//! Commands that a configuration must allow first: DEBUG and MODULE LOAD.

use super::command::Cx;
use crate::admin::params::Id;
use crate::resp::error::ReplyError;

/// May this client run `command`, about which the parameter `name` decides: no, yes, or local?
/// Errors: it may not, with the way to allow it.
pub(super) fn check(cx: &Cx<'_>, command: &str, parameter: Id, name: &str) -> Result<(), ReplyError> {
    let is_allowed = match cx.world.config.word(parameter) {
        "yes" => true,
        "local" => cx.session.info.endpoints.is_local(),
        _ => false,
    };
    if is_allowed {
        return Ok(());
    }
    Err(ReplyError::owned(format!(
        "ERR {command} command not allowed. If the {name} option is set to \"local\", you can run it from a local \
         connection, otherwise you need to set this option in the configuration file, and then restart the server."
    )))
}
