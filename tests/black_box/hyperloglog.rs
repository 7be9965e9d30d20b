//! HyperLogLogs: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn elements_are_counted_and_merged() {
    check(
        "
        PFADD h a b c            => 1
        @b PFADD h c             => 0
        PFADD g c d              => 1
        PFCOUNT h g              => 4
        PFMERGE u h g            => OK
        @b PFCOUNT u             => 4
        PFDEBUG ENCODING u       => sparse
        PFSELFTEST               => OK
    ",
    );
}
