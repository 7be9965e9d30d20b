//! DEBUG PROTOCOL: one value of each protocol type, as clients' own tests expect them.

use crate::resp::error::ReplyError;
use crate::resp::reply::{Proto, Reply};

/// A value of the type `kind`.
/// Errors: no such type; a push in RESP2.
#[expect(clippy::approx_constant, reason = "the protocol's example, not a bad pi")]
pub(super) fn sample(reply: &mut Reply, kind: &[u8]) -> Result<(), ReplyError> {
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(3.141),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"map" => {
            reply.map(3);
            (0..3).for_each(|number| {
                reply.int(number);
                reply.boolean(number == 1);
            });
        }
        b"attrib" => {
            if reply.proto == Proto::Resp3 {
                reply.raw(b"|1\r\n");
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if reply.proto == Proto::Resp2 => {
            return Err(ReplyError::text("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
            reply.bulk(b"Some real reply following the push reply"); // A push is not the answer to anything.
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        _ => {
            return Err(ReplyError::text(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::admin::params::Id;
    use crate::cmd::testkit::{Client, check_on};
    use crate::resp::reply::Proto;

    #[test]
    fn every_protocol_type_has_its_form() {
        for proto in [Proto::Resp2, Proto::Resp3] {
            let mut client = Client::new();
            client.world.config.set_at_start(Id::ENABLE_DEBUG_COMMAND, &["yes".into()]).unwrap();
            client.reply.proto = proto;
            check_on(
                &mut client,
            "
            DEBUG PROTOCOL integer => 12345
            DEBUG PROTOCOL double => '3.141' || ,3.141
            DEBUG PROTOCOL null => (nil)
            DEBUG PROTOCOL set => [0, 1, 2] || ~[0, 1, 2]
            DEBUG PROTOCOL map => [0, 0, 1, 1, 2, 0] || {0: #f, 1: #t, 2: #f}
            DEBUG PROTOCOL true => 1 || #t
            DEBUG PROTOCOL verbatim => 'This is a verbatim\\nstring'
            DEBUG PROTOCOL attrib => 'Some real reply following the attribute' || |{'key-popularity': ['key:123', 90]} 'Some real reply following the attribute'
            DEBUG PROTOCOL push => ERR RESP2 is not supported by this command || >['server-cpu-usage', 42] 'Some real reply following the push reply'
        ",
            );
        }
    }
}
