//! Lists: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn a_queue_and_a_stack() {
    check(
        r#"
        RPUSH jobs a "b\r\n" 3     => 3
        LPUSH jobs first           => 4
        LLEN jobs                  => 4
        LPOP jobs                  => 'first'
        RPOP jobs                  => '3'
        LPUSHX jobs 0              => 3
        RPUSHX none x              => 0
        LRANGE jobs 0 -1           => ['0', 'a', 'b\r\n']
        LPOP jobs 2                => ['0', 'a']
        RPOP jobs 2                => ['b\r\n']
        EXISTS jobs                => 0
    "#,
    );
}

#[test]
fn elements_are_found_changed_and_trimmed() {
    check(
        "
        RPUSH l a b c b            => 4
        LINDEX l -1                => 'b'
        LPOS l b RANK -1           => 3
        LSET l 3 d                 => OK
        LINSERT l BEFORE d c       => 5
        LREM l 0 c                 => 2
        LRANGE l 0 -1              => ['a', 'b', 'd']
        LTRIM l 1 -1               => OK
        LRANGE l 0 -1              => ['b', 'd']
        OBJECT ENCODING l          => 'listpack'
    ",
    );
}

#[test]
fn elements_move_from_list_to_list() {
    check(
        "
        RPUSH todo 1 2 3           => 3
        LMOVE todo doing LEFT RIGHT => '1'
        @b RPOPLPUSH todo doing    => '3'
        LRANGE doing 0 -1          => ['3', '1']
        LMPOP 2 none doing RIGHT COUNT 5 => ['doing', ['1', '3']]
        @b LRANGE todo 0 -1        => ['2']
    ",
    );
}

/// Replies that are longer than one send, from lists of many chunks.
#[test]
fn long_lists_come_whole() {
    let mut scenario = String::from("CONFIG SET list-compress-depth 1 => OK\n");
    for from in (0..20_000).step_by(1000) {
        let values: Vec<_> = (from..from + 1000).map(|value| format!("element:{value}")).collect();
        scenario += &format!("RPUSH l {} => {}\n", values.join(" "), from + 1000);
    }
    let all: Vec<_> = (0..20_000).map(|value| format!("'element:{value}'")).collect();
    scenario += &format!("LRANGE l 0 -1 => [{}]\n", all.join(", "));
    scenario += "LINDEX l 12345 => 'element:12345'\nCONFIG SET list-compress-depth 0 => OK\n";
    check(&scenario);
}
