//! Strings: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn a_value_is_read_as_it_was_written() {
    check(
        r#"
        SET k "a\x00b\r\n"    => OK
        GET k                 => 'a\x00b\r\n'
        STRLEN k              => 5
        GETSET k new          => 'a\x00b\r\n'
        GETDEL k              => 'new'
        GET k                 => (nil)
        GETDEL k              => (nil)
    "#,
    );
}
