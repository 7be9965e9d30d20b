//! Hashes: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn a_record_is_kept_field_by_field() {
    check(
        r#"
        HSET user name "Ann\r\n" age 41      => 2
        HGET user name                       => 'Ann\r\n'
        HSETNX user name Bob                 => 0
        HINCRBY user age 1                   => 42
        HINCRBYFLOAT user score 1.5          => '1.5'
        HMGET user age none score            => ['42', (nil), '1.5']
        HMSET user age 43                    => OK
        HEXISTS user age                     => 1
        HSTRLEN user age                     => 2
        HLEN user                            => 3
        HDEL user name score none            => 2
        HKEYS user                           => ['age']
        HVALS user                           => ['43']
        HGETALL user                         => ['age', '43'] || {'age': '43'}
        HRANDFIELD user                      => 'age'
        HSCAN user 0                         => ['0', ['age', '43']]
        HDEL user age                        => 1
        EXISTS user                          => 0
    "#,
    );
}
