//! Scenarios of field deadlines. Replies are those of Redis 8's documentation and tests.

use super::testkit::{Client, check, check_on};

#[test]
fn deadlines_are_set_told_and_taken_away() {
    check(
        "
        HEXPIRE nokey 10 FIELDS 2 a b            => [-2, -2]
        HTTL nokey FIELDS 1 a                    => [-2]
        HPERSIST nokey FIELDS 1 a                => [-2]
        HSET h a 1 b 2 c 3                       => 3
        HEXPIRE h 10 FIELDS 2 a none             => [1, -2]
        OBJECT ENCODING h                        => 'listpackex'
        HTTL h FIELDS 3 a b none                 => [10, -1, -2]
        HPTTL h FIELDS 2 a b                     => [10000, -1]
        HPEXPIREAT h 33333333333333 FIELDS 1 b   => [1]
        HPEXPIRETIME h FIELDS 2 b c              => [33333333333333, -1]
        HEXPIRETIME h FIELDS 1 b                 => [33333333334]
        HEXPIREAT h 33333333333 FIELDS 1 c       => [1]
        HPEXPIRETIME h FIELDS 1 c                => [33333333333000]
        HPEXPIRE h 1500 FIELDS 1 c               => [1]
        HTTL h FIELDS 1 c                        => [2]
        HPERSIST h FIELDS 3 a none a             => [1, -2, -1]
        HTTL h FIELDS 1 a                        => [-1]
        HGETALL h                                => ['a', '1', 'b', '2', 'c', '3'] || {'a': '1', 'b': '2', 'c': '3'}
    ",
    );
}

#[test]
fn rules_decide_for_each_field() {
    check(
        "
        HSET h a 1 b 2                           => 2
        HEXPIRE h 100 XX FIELDS 1 a              => [0]
        HEXPIRE h 100 GT FIELDS 1 a              => [0]
        HEXPIRE h 100 NX FIELDS 1 a              => [1]
        HEXPIRE h 200 NX FIELDS 2 a b            => [0, 1]
        HEXPIRE h 150 GT FIELDS 2 a b            => [1, 0]
        HEXPIRE h 160 LT FIELDS 2 a b            => [0, 1]
        HPERSIST h FIELDS 1 b                    => [1]
        HEXPIRE h 170 lt fields 1 b              => [1]
        HTTL h FIELDS 2 a b                      => [150, 170]
        HEXPIREAT h 1 NX FIELDS 2 a b            => [0, 0]
        HEXPIREAT h 1 FIELDS 2 a none            => [2, -2]
        HEXPIRE h 0 FIELDS 1 b                   => [2]
        EXISTS h                                 => 0
    ",
    );
}

#[test]
fn mistakes_in_deadlines_change_nothing() {
    check(
        "
        HSET h a 1                               => 1
        HEXPIRE h x FIELDS 1 a                   => ERR value is not an integer or out of range
        HEXPIRE h -1 FIELDS 1 a                  => ERR invalid expire time, must be >= 0
        HEXPIRE h 281474976710 FIELDS 1 a        => ERR invalid expire time in 'hexpire' command
        HPEXPIREAT h 70368744177664 FIELDS 1 a   => ERR invalid expire time in 'hpexpireat' command
        HEXPIRE h 10 NX 1 a b                    => ERR Mandatory argument FIELDS is missing or not at the right position
        HEXPIRE h 10 NX FIELDS 0 a               => ERR Parameter `numFields` should be greater than 0
        HEXPIRE h 10 FIELDS 2 a                  => ERR The `numfields` parameter must match the number of arguments
        HTTL h FIELDS 0 a                        => ERR Number of fields must be a positive integer
        HTTL h FIELDS 1 a b                      => ERR The `numfields` parameter must match the number of arguments
        HTTL h FIELD 1 a                         => ERR Mandatory argument FIELDS is missing or not at the right position
        HTTL h FIELDS 1 a                        => [-1]
        SET s v                                  => OK
        HEXPIRE s 10 FIELDS 1 a                  => WRONGTYPE Operation against a key holding the wrong kind of value
        HTTL s FIELDS 1 a                        => WRONGTYPE Operation against a key holding the wrong kind of value
        HPERSIST s FIELDS 1 a                    => WRONGTYPE Operation against a key holding the wrong kind of value
        HGETDEL s FIELDS 1 a                     => WRONGTYPE Operation against a key holding the wrong kind of value
        HGETEX s FIELDS 1 a                      => WRONGTYPE Operation against a key holding the wrong kind of value
        HGETEX s EX x FIELDS 1 a                 => WRONGTYPE Operation against a key holding the wrong kind of value
        HSETEX s FIELDS 1 a b                    => WRONGTYPE Operation against a key holding the wrong kind of value
        HGETEX h PERSIST 1 FIELDS 1 a            => ERR Mandatory argument FIELDS is missing or not at the right position
        HGETEX h EX bla FIELDS 1 a               => ERR value is not an integer or out of range
        HGETEX h PX -1 FIELDS 1 a                => ERR invalid expire time, must be >= 0
        HGETEX h FIELDS 2 a                      => ERR The `numfields` parameter must match the number of arguments
        HSETEX h nx FIELDS 1 a b                 => ERR unknown argument: nx
        HSETEX h FXX FNX FIELDS 1 a b            => ERR Only one of FXX or FNX arguments can be specified
        HSETEX h EX 5 KEEPTTL FIELDS 1 a b       => ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
        HSETEX h ex FIELDS 1 a b                 => ERR value is not an integer or out of range
        HSETEX h FIELDS x a b                    => ERR invalid number of fields
        HSETEX h FIELDS 2 a b c                  => ERR wrong number of arguments for 'hsetex' command
        HGETALL h                                => ['a', '1'] || {'a': '1'}
    ",
    );
}

#[test]
fn values_are_read_written_and_removed_along_with_deadlines() {
    check(
        "
        HGETDEL nokey FIELDS 2 a b               => [(nil), (nil)]
        HGETEX nokey EX 5 FIELDS 1 a             => [(nil)]
        HSETEX h EX 100 FIELDS 2 a 1 b 2         => 1
        HTTL h FIELDS 2 a b                      => [100, 100]
        HGETEX h FIELDS 3 a none b               => ['1', (nil), '2']
        HTTL h FIELDS 1 a                        => [100]
        HGETEX h PERSIST FIELDS 1 a              => ['1']
        HGETEX h PX 5000 FIELDS 1 b              => ['2']
        HPTTL h FIELDS 2 a b                     => [-1, 5000]
        HSETEX h KEEPTTL FIELDS 1 b 3            => 1
        HPTTL h FIELDS 1 b                       => [5000]
        HSETEX h FIELDS 1 b 4                    => 1
        HPTTL h FIELDS 1 b                       => [-1]
        HSETEX h FNX FIELDS 2 b 5 c 5            => 0
        HSETEX h FXX FIELDS 2 b 5 c 5            => 0
        HSETEX h FXX EX 9 FIELDS 2 a 5 b 5       => 1
        HSETEX h PX 9 FNX FIELDS 1 c 5           => 1
        HGETDEL h FIELDS 3 a none c              => ['5', (nil), '5']
        HSETEX h PXAT 1 FIELDS 2 b 5 d 5         => 1
        EXISTS h                                 => 0
        HSETEX h FXX FIELDS 1 a 1                => 0
        HSETEX h EXAT 1 FIELDS 1 a 1             => 1
        EXISTS h                                 => 0
        HSET h a 1                               => 1
        HGETEX h PXAT 1 FIELDS 1 a               => ['1']
        EXISTS h                                 => 0
    ",
    );
}

#[test]
fn setting_a_value_clears_the_deadline_and_counting_keeps_it() {
    check(
        "
        HSET h a 1 b 2                           => 2
        HEXPIRE h 50 FIELDS 2 a b                => [1, 1]
        HSET h a 2                               => 0
        HINCRBY h b 1                            => 3
        HTTL h FIELDS 2 a b                      => [-1, 50]
        HINCRBYFLOAT h b 1                       => '4'
        HTTL h FIELDS 1 b                        => [50]
        HSETNX h b 9                             => 0
        COPY h i                                 => 1
        RENAME h j                               => OK
        HTTL i FIELDS 1 b                        => [50]
        HTTL j FIELDS 1 b                        => [50]
        OBJECT ENCODING i                        => 'listpackex'
    ",
    );
}

/// Lets a millisecond deadline pass on a stopped clock.
fn pass(client: &Client, ms: u64) {
    client.world.keyspace.now.advance(ms);
}

#[test]
fn a_field_past_its_deadline_counts_until_somebody_meets_it() {
    for entries in ["512", "0"] {
        let mut client = Client::new();
        client.world.keyspace.now.stop();
        client.run_line(&format!("CONFIG SET hash-max-listpack-entries {entries}"));
        check_on(
            &mut client,
            "
            HSET h a 1 b 2 c 3 d 4 e 5           => 5
            HPEXPIRE h 5 FIELDS 4 a b c e        => [1, 1, 1, 1]
        ",
        );
        pass(&client, 5);
        check_on(
            &mut client,
            "
            HLEN h                               => 5
            HGET h a                             => (nil)
            HLEN h                               => 4
            HMGET h b d                          => [(nil), '4']
            HLEN h                               => 3
            HDEL h c                             => 1
            HINCRBY h e 1                        => 1
            HLEN h                               => 2
            HPEXPIRE h 5 FIELDS 2 d e            => [1, 1]
        ",
        );
        pass(&client, 5);
        check_on(
            &mut client,
            "
            EXISTS h                             => 1
            HSCAN h 0                            => ['0', []]
            HRANDFIELD h                         => (nil)
            EXISTS h                             => 0
        ",
        );
        assert_eq!(client.world.stats[0].expired_fields.get(), 5);
    }
}

#[test]
fn a_field_past_its_deadline_is_hidden_from_every_command() {
    for entries in ["512", "0"] {
        let mut client = Client::new();
        client.world.keyspace.now.stop();
        client.run_line(&format!("CONFIG SET hash-max-listpack-entries {entries}"));
        check_on(
            &mut client,
            "
            HSET h dead 1 alive 2                => 2
            HPEXPIRE h 5 FIELDS 1 dead           => [1]
            HGET h dead                          => '1'
        ",
        );
        pass(&client, 5);
        check_on(
            &mut client,
            "
            HGET h dead                          => (nil)
            HMGET h dead alive                   => [(nil), '2']
            HLEN h                               => 1
            HGETALL h                            => ['alive', '2']
            HKEYS h                              => ['alive']
            HVALS h                              => ['2']
            HEXISTS h dead                       => 0
            HSTRLEN h dead                       => 0
            HSCAN h 0                            => ['0', ['alive', '2']]
            HRANDFIELD h                         => 'alive'
            HRANDFIELD h 5                       => ['alive']
            HRANDFIELD h -2                      => ['alive', 'alive']
            HTTL h FIELDS 1 dead                 => [-2]
            HPERSIST h FIELDS 1 dead             => [-2]
            HEXPIRE h 5 FIELDS 1 dead            => [-2]
            HGETEX h FIELDS 1 dead               => [(nil)]
            HGETDEL h FIELDS 1 dead              => [(nil)]
            HINCRBY h dead 1                     => 1
            HTTL h FIELDS 1 dead                 => [-1]
            HPEXPIRE h 5 FIELDS 1 dead           => [1]
        ",
        );
        pass(&client, 5);
        check_on(
            &mut client,
            "
            HSETNX h dead 7                      => 1
            HTTL h FIELDS 1 dead                 => [-1]
        ",
        );
    }
}
