//! The connection and its client: scenarios over sockets.

use crate::harness::{Server, Value, check, engines};

#[test]
fn small_talk() {
    check(
        "
        PING                          => PONG
        PING hello                    => 'hello'
        PING a b                      => ERR wrong number of arguments for 'ping' command
        ECHO text                     => 'text'
        SELECT 3                      => OK
        CLIENT INFO                   => 'id=… db=3 … cmd=client|info …'
        RESET                         => RESET
        CLIENT INFO                   => 'id=… db=0 … resp=2 …'
        QUIT                          => OK
    ",
    );
}

#[test]
fn hello_chooses_the_protocol() {
    check(
        "
        HELLO 2                       => ['server', 'redis', 'version', '7.2.4', 'proto', 2, …]
        HELLO 3                       => {'server': 'redis', 'version': '7.2.4', 'proto': 3, …}
        HELLO 4                       => NOPROTO unsupported protocol version
        HELLO x                       => ERR Protocol version is not an integer or out of range
        HELLO 3 SETNAME me            => {…}
        CLIENT GETNAME                => 'me'
        HELLO 3 NOSUCH                => ERR Syntax error in HELLO option 'NOSUCH'
        HELLO 3 SETNAME 'a b'         => ERR Client names cannot contain spaces, newlines or special characters.
    ",
    );
}

#[test]
fn a_password_is_asked_for() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--requirepass", "sesame"]);
        let mut client = server.client();
        let mut expect = |line: &str, reply: &str| assert_eq!(client.run(line).to_string(), reply, "{line}");
        expect("PING", "NOAUTH Authentication required.");
        expect(
            "HELLO 3",
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        );
        expect("AUTH wrong", "WRONGPASS invalid username-password pair or user is disabled.");
        expect("AUTH nobody sesame", "WRONGPASS invalid username-password pair or user is disabled.");
        expect("AUTH default sesame", "OK");
        expect("PING", "PONG");
        expect("RESET", "RESET");
        expect("PING", "NOAUTH Authentication required.");
        let mut client = server.client();
        assert!(matches!(client.run("HELLO 3 AUTH default sesame SETNAME me"), Value::Map(_)));
        assert_eq!(client.run("CLIENT GETNAME"), Value::bulk("me"));
    }
    check(
        "AUTH x => ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
    );
}

#[test]
fn a_client_has_name_library_and_flags() {
    check(
        "
        CLIENT GETNAME                => (nil)
        CLIENT SETNAME me             => OK
        CLIENT GETNAME                => 'me'
        CLIENT SETNAME 'a b'          => ERR Client names cannot contain spaces, newlines or special characters.
        CLIENT SETINFO LIB-NAME lib   => OK
        CLIENT SETINFO LIB-VER 1.0    => OK
        CLIENT SETINFO LIB-X 1        => ERR Unrecognized option 'LIB-X'
        CLIENT INFO                   => '…name=me…lib-name=lib lib-ver=1.0…'
        CLIENT CAPA redirect          => OK
        CLIENT CAPA                   => ERR wrong number of arguments for 'client|capa' command
        CLIENT LIST CAPA r NAME me LIB-NAME lib LIB-VER 1.0 DB 0 FLAGS N IP 127.0.0.1 => '…name=me…'
        CLIENT LIST NOT-CAPA r NAME me => ''
        CLIENT KILL NAME nobody NOT-ID 1 2 3 => 0
        CLIENT DURABILITY none        => OK
        CLIENT DURABILITY default     => OK
        CLIENT DURABILITY fsync       => ERR CLIENT DURABILITY EVERYSEC and FSYNC need an append-only file, but 'appendonly' is 'no'.
        CLIENT DURABILITY maybe       => ERR syntax error
        CLIENT NO-EVICT on            => OK
        CLIENT NO-TOUCH on            => OK
        CLIENT NO-EVICT maybe         => ERR syntax error
        CLIENT SETNAME ''             => OK
        CLIENT GETNAME                => (nil)
        CLIENT HELP                   => [CLIENT …]
        CLIENT LIST TYPE pubsub       => ''
        CLIENT LIST TYPE nosuch       => ERR Unknown client type 'nosuch'
        CLIENT LIST ID x              => ERR Invalid client ID
    ",
    );
}

#[test]
fn replies_can_be_switched_off() {
    check(
        "
        CLIENT REPLY OFF              => (silence)
        SET k v                       => (silence)
        CLIENT REPLY ON               => OK
        CLIENT REPLY SKIP             => (silence)
        SET k w                       => (silence)
        GET k                         => 'w'
        CLIENT REPLY MAYBE            => ERR syntax error
    ",
    );
}

#[test]
fn clients_are_listed_and_killed() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "4"]);
        let (mut killer, mut victims) = (server.client(), [server.client(), server.client(), server.client()]);
        let ids: Vec<i64> = victims.iter_mut().map(|victim| victim.run("CLIENT ID").int()).collect();
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "every client has an id of its own");
        victims[0].run("CLIENT SETNAME victim");
        assert!(killer.run("CLIENT LIST").text().contains("name=victim"));
        let one = killer.run(&format!("CLIENT LIST ID {} {}", ids[0], ids[1])).text();
        assert_eq!(one.lines().count(), 2, "{one}");
        assert_eq!(killer.run("CLIENT KILL NAME victim IDLE 1000").int(), 0);
        killer.send(format!("CLIENT KILL ID {0} NAME victim\r\nCLIENT LIST ID {0}\r\n", ids[0]).as_bytes());
        assert_eq!(killer.reply().int(), 1);
        assert_eq!(killer.reply().text(), "", "whoever was killed is in no list");
        assert_eq!(victims[0].until_closed(), b"");
        let address = victims[1].stream().local_addr().expect("an address");
        assert_eq!(killer.run(&format!("CLIENT KILL {address}")).to_string(), "OK");
        assert_eq!(victims[1].until_closed(), b"");
        assert_eq!(killer.run(&format!("CLIENT KILL {address}")).to_string(), "ERR No such client");
        assert_eq!(killer.run("CLIENT KILL TYPE normal SKIPME yes").int(), 1);
        assert_eq!(victims[2].until_closed(), b"");
        assert_eq!(killer.run("CLIENT KILL ID x").to_string(), "ERR client-id should be greater than 0");
        assert_eq!(killer.run("CLIENT KILL TYPE normal SKIPME no").int(), 1, "oneself, after the reply");
        assert_eq!(killer.until_closed(), b"");
    }
}
