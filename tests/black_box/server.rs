//! What operators and tools ask of the server: scenarios over sockets.

use crate::harness::{Server, Value, check, check_with, engines};

#[test]
fn command_describes_the_commands() {
    check(
        "
        COMMAND COUNT                                => *
        COMMAND INFO get nosuch                      => [['get', 2, …], (nil)]
        COMMAND GETKEYS MSET a 1 b 2                 => ['a', 'b']
        COMMAND GETKEYS BITOP AND d s t              => ['d', 's', 't']
        COMMAND GETKEYS PING                         => ERR The command has no key arguments
        COMMAND GETKEYS nosuch                       => ERR Invalid command specified
        COMMAND GETKEYS GET                          => ERR Invalid number of arguments specified for command
        COMMAND GETKEYSANDFLAGS GET k                => [['k', [RO, access]]] || [['k', ~[RO, access]]]
        COMMAND LIST FILTERBY PATTERN getd*          => ['getdel'] || ['getdel']
        COMMAND DOCS nosuch                          => [] || {}
        COMMAND DOCS get                             => ['get', […]] || {'get': {…}}
        COMMAND HELP                                 => [COMMAND …]
        COMMAND NOSUCH                               => ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP.
    ",
    );
}

#[test]
fn parameters_are_read_and_changed() {
    check_with(
        &[],
        "
        CONFIG GET maxclients                        => ['maxclients', '10000'] || {'maxclients': '10000'}
        CONFIG SET maxclients 500 timeout 10         => OK
        CONFIG GET timeout                           => ['timeout', '10'] || {'timeout': '10'}
        CONFIG SET nosuch 1                          => ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
        CONFIG SET timeout x                         => ERR CONFIG SET failed (possibly related to argument 'timeout') - …
        CONFIG SET port                              => ERR wrong number of arguments for 'config|set' command
        CONFIG GET nosuch                            => [] || {}
        CONFIG RESETSTAT                             => OK
        CONFIG REWRITE                               => ERR The server is running without a config file
        CONFIG HELP                                  => [CONFIG …]
    ",
    );
}

#[test]
fn info_has_the_sections_that_programs_read() {
    check(
        r"
        SET k v EX 100                               => OK
        INFO server                                  => '# Server\r\nredis_version:7.2.4…tcp_port:…'
        INFO clients                                 => '# Clients\r\nconnected_clients:…'
        INFO keyspace                                => '# Keyspace\r\ndb0:keys=1,expires=1,avg_ttl=…'
        INFO nosuch                                  => ''
        INFO everything                              => '…cmdstat_set:calls=…'
    ",
    );
}

#[test]
fn memory_and_time_are_told() {
    check(
        "
        SET k v                                      => OK
        MEMORY USAGE k                               => *
        MEMORY USAGE nothing                         => (nil)
        MEMORY USAGE k SAMPLES 5                     => *
        MEMORY STATS                                 => ['peak.allocated', …] || {'peak.allocated': …}
        MEMORY DOCTOR                                => '…'
        MEMORY MALLOC-STATS                          => '…'
        MEMORY PURGE                                 => OK
        MEMORY HELP                                  => [MEMORY …]
        TIME                                         => ['1…', '…']
        DEBUG SLEEP 0.001                            => OK
        ROLE                                         => ['master', 0, []]
        WAIT 0 10                                    => 0
        LOLWUT                                       => '…'
        READONLY                                     => ERR This instance has cluster support disabled
        READWRITE                                    => ERR This instance has cluster support disabled
        ASKING                                       => ERR This instance has cluster support disabled
    ",
    );
}

#[test]
fn a_sleep_of_one_client_holds_the_others_no_longer_than_it_lasts() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "1"]);
        let (mut sleeper, mut other) = (server.client(), server.client());
        sleeper.send(b"DEBUG SLEEP 0.1\r\n");
        assert_eq!(other.run("PING").to_string(), "PONG");
        assert_eq!(sleeper.reply().to_string(), "OK");
    }
}

#[test]
fn statistics_count_what_happened() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "4"]);
        let mut client = server.client();
        for line in ["SET k v", "GET k", "GET nothing", "INCR k", "NOSUCH"] {
            client.run(line);
        }
        let stats = client.run("INFO stats").text();
        for field in ["keyspace_hits:1\r\n", "keyspace_misses:1\r\n"] {
            assert!(stats.contains(field), "{field:?}: {stats}");
        }
        let errors = client.run("INFO errorstats").text();
        assert!(errors.contains("errorstat_ERR:count=2"), "{errors}");
        let commands = client.run("INFO commandstats").text();
        assert!(commands.contains("cmdstat_get:calls=2,"), "{commands}");
        assert!(commands.contains("cmdstat_incr:calls=1,") && commands.contains("failed_calls=1"), "{commands}");
        let clients = client.run("INFO clients").text();
        assert!(clients.contains("connected_clients:1\r\n"), "{clients}");
        assert_eq!(client.run("CONFIG RESETSTAT").to_string(), "OK");
        assert!(client.run("INFO stats").text().contains("keyspace_hits:0\r\n"));
        assert_eq!(client.run("DBSIZE"), Value::Int(1));
    }
}
