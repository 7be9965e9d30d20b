//! Lists: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::{Server, check, engines};
use std::time::Duration;

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

#[test]
fn whoever_finds_elements_does_not_wait() {
    check(
        "
        RPUSH l 1 2 3 4 5          => 5
        BLPOP none l 0             => ['l', '1']
        BRPOP none l 0             => ['l', '5']
        BLMPOP 0 2 none l LEFT COUNT 2 => ['l', ['2', '3']]
        BLMOVE l m LEFT LEFT 0     => '4'
        BRPOPLPUSH m l 0           => '4'
        LRANGE l 0 -1              => ['4']
        BLPOP none 0.01            => (nil)
        BRPOP none other 0.01      => (nil)
        BLMPOP 0.01 1 none RIGHT   => (nil)
        BLMOVE none l LEFT LEFT 0.01 => (nil)
        BRPOPLPUSH none l 0.01     => (nil)
        BLPOP l x                  => ERR timeout is not a float or out of range
        BLPOP l -1                 => ERR timeout is negative
        BLMOVE l l LEFT UP x       => ERR syntax error
        BLMPOP x 0 l LEFT          => ERR numkeys should be greater than 0
        BLMPOP x 1 l LEFT          => ERR timeout is not a float or out of range
        SET s v                    => OK
        BLPOP none s 0             => WRONGTYPE Operation against a key holding the wrong kind of value
        BLMOVE l s LEFT LEFT 0     => WRONGTYPE Operation against a key holding the wrong kind of value
        LLEN l                     => 1
    ",
    );
}

/// A client that waited hears of its element in front of the reply to what it sends next: PING here, whose own reply is left.
#[test]
fn clients_that_wait_are_served_in_their_order() {
    check(
        "
        @a BLPOP q r 0             => (silence)
        INFO clients               => (soon) '…blocked_clients:1…'
        @b BRPOP r q 0             => (silence)
        INFO clients               => (soon) '…blocked_clients:2…'
        @c BLMPOP 0 1 q LEFT COUNT 9 => (silence)
        INFO clients               => (soon) '…blocked_clients:3…'
        RPUSH q 1 2 3 4            => 4
        EXISTS q                   => 0
        @a PING                    => ['q', '1']
        @b PING                    => ['q', '4']
        @c PING                    => ['q', ['2', '3']]
        INFO clients               => '…blocked_clients:0…'
    ",
    );
}

#[test]
fn an_element_goes_through_the_hands_of_all_who_wait() {
    check(
        "
        @mover BLMOVE from to LEFT RIGHT 0 => (silence)
        INFO clients               => (soon) '…blocked_clients:1…'
        @taker BLPOP to 0          => (silence)
        INFO clients               => (soon) '…blocked_clients:2…'
        RPUSH from x               => 1
        DBSIZE                     => 0
        @mover PING                => 'x'
        @taker PING                => ['to', 'x']
        SET from v                 => OK
        @late BRPOPLPUSH gone to 0 => (silence)
        INFO clients               => (soon) '…blocked_clients:1…'
        RPUSH gone b               => 1
        @late PING                 => 'b'
        LRANGE to 0 -1             => ['b']
    ",
    );
}

/// The reply is longer than what a socket and an output buffer hold, so most of it is still to be made when the list changes.
#[test]
fn a_long_range_is_streamed_as_it_was() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let (mut reader, mut writer) = (server.client(), server.client());
            let element = |index: usize| format!("{index:0200}x");
            for from in (0..100_000).step_by(1000) {
                let values: Vec<_> = (from..from + 1000).map(element).collect();
                writer.run(&format!("RPUSH l {}", values.join(" ")));
            }
            reader.send(b"LRANGE l 1 -2\r\nPING\r\n");
            reader.fill(Duration::from_secs(20)).expect("the reply begins");
            assert_eq!(writer.run("LSET l 50000 changed").to_string(), "OK");
            assert_eq!(writer.run("RPOP l").to_string(), format!("'{}'", element(99_999)));
            assert_eq!(writer.run("LLEN l").int(), 99_999);
            assert_eq!(writer.run("DEL l").int(), 1);
            let items = reader.reply().items();
            assert_eq!(items.len(), 99_998);
            assert!(items.iter().enumerate().all(|(index, item)| item.text() == element(index + 1)));
            assert_eq!(reader.reply().to_string(), "PONG");
        });
    }
}
