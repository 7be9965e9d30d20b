//! Users and permissions: scenarios over sockets, what happens to connections when users change, users in files, and a
//! comparison with redis-server.

use crate::harness::server::loudly;
use crate::harness::{Client, Random, Server, check_with, engines};
use std::fs;
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn users_are_made_changed_shown_and_deleted() {
    check_with(
        &[],
        "
        ACL WHOAMI                        => 'default'
        ACL USERS                         => ['default']
        ACL LIST                          => ['user default on nopass sanitize-payload ~* &* +@all']
        ACL SETUSER bob on >pw ~a* %R~b +get +@write -set => OK
        ACL GETUSER bob                   => ['flags', ['on', 'sanitize-payload'], 'passwords', ['30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4'], 'commands', '-@all +get +@write -set', 'keys', '~a* %R~b', 'channels', '', 'selectors', []] || {'flags': ~['on', 'sanitize-payload'], 'passwords': ['30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4'], 'commands': '-@all +get +@write -set', 'keys': '~a* %R~b', 'channels': '', 'selectors': []}
        ACL SETUSER bob nopass (+set ~x &c) => OK
        ACL LIST                          => ['user bob on nopass sanitize-payload ~a* %R~b resetchannels -@all +get +@write -set (~x resetchannels &c -@all +set)', 'user default …']
        ACL GETUSER nobody                => (nil)
        ACL SETUSER bob +nosuch           => ERR Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL
        ACL SETUSER bob +config|get|x     => ERR Error in ACL SETUSER modifier '+config|get|x': Allowing first-arg of a subcommand is not supported
        ACL SETUSER bob (+get             => ERR Unmatched parenthesis in acl selector starting at '(+get'.
        ACL SETUSER 'a b'                 => ERR Usernames can't contain spaces or null characters
        ACL DELUSER default               => ERR The 'default' user cannot be removed
        ACL DELUSER bob nobody            => 1
        ACL SETUSER                       => ERR wrong number of arguments for 'acl|setuser' command
        ACL NOSUCH                        => ERR unknown subcommand 'NOSUCH'. Try ACL HELP.
        ACL LOAD                          => ERR This Redis instance is not configured to use an ACL file. …
        ACL SAVE                          => ERR This Redis instance is not configured to use an ACL file. …
        ACL HELP                          => [ACL <subcommand> …]
    ",
    );
}

#[test]
fn categories_and_passwords_to_choose() {
    check_with(
        &[],
        "
        ACL CAT                           => ['keyspace', 'read', 'write', …, 'scripting']
        ACL CAT bitmap                    => [… 'bitcount', …]
        ACL CAT nosuch                    => ERR Unknown category 'nosuch'
        ACL CAT a b                       => ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.
        ACL GENPASS                       => '…'
        ACL GENPASS 0                     => ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096
        ACL GENPASS 4097                  => ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096
        ACL GENPASS x                     => ERR value is not an integer or out of range
    ",
    );
    let server = Server::start(&[]);
    let mut client = server.client();
    for (line, digits) in [("ACL GENPASS", 64), ("ACL GENPASS 5", 2), ("ACL GENPASS 4096", 1024)] {
        let password = client.run(line).text();
        assert!(password.len() == digits && password.bytes().all(|b| b.is_ascii_hexdigit()), "{line}: {password}");
        assert_ne!(password, client.run(line).text());
    }
}

#[test]
fn commands_and_keys_are_refused_with_the_texts_of_redis() {
    check_with(
        &[],
        "
        SET x 1                           => OK
        ACL SETUSER bob on >pw ~a* %R~r %W~w +@string +config|get +select|0 -append => OK
        @b AUTH bob wrong                 => WRONGPASS invalid username-password pair or user is disabled.
        @b AUTH bob pw                    => OK
        @b ACL WHOAMI                     => NOPERM User bob has no permissions to run the 'acl|whoami' command
        @b SET a 1                        => OK
        @b GET x                          => NOPERM No permissions to access a key
        @b GET r                          => (nil)
        @b SET r 1                        => NOPERM No permissions to access a key
        @b SET w 1                        => OK
        @b SET w 1 GET                    => NOPERM No permissions to access a key
        @b MGET a r x                     => NOPERM No permissions to access a key
        @b APPEND a x                     => NOPERM User bob has no permissions to run the 'append' command
        @b CONFIG GET timeout             => ['timeout', '0'] || {'timeout': '0'}
        @b CONFIG SET timeout 0           => NOPERM User bob has no permissions to run the 'config|set' command
        @b SELECT 0                       => OK
        @b SELECT 1                       => NOPERM User bob has no permissions to run the 'select' command
        @b NOSUCH                         => ERR unknown command 'NOSUCH', with args beginning with:…
        @b GET                            => ERR wrong number of arguments for 'get' command
        ACL SETUSER bob (~x* +get +acl)   => OK
        @b GET x                          => '1'
        @b ACL WHOAMI                     => 'bob'
        ACL SETUSER bob clearselectors    => OK
        @b GET x                          => NOPERM No permissions to access a key
        @b RESET                          => RESET
        @b GET x                          => '1'
    ",
    );
}

#[test]
fn a_dry_run_tells_without_doing() {
    check_with(
        &[],
        "
        ACL SETUSER bob ~a +get           => OK
        ACL DRYRUN bob get a              => OK
        ACL DRYRUN bob GET b              => 'User bob has no permissions to access the \\'b\\' key'
        ACL DRYRUN bob SET a 1            => 'User bob has no permissions to run the \\'set\\' command'
        ACL DRYRUN bob config get x       => 'User bob has no permissions to run the \\'config|get\\' command'
        ACL DRYRUN bob GET                => ERR wrong number of arguments for 'get' command
        ACL DRYRUN bob nosuch             => ERR Command 'nosuch' not found
        ACL DRYRUN bob config nosuch      => ERR Command 'config' not found
        ACL DRYRUN nobody get a           => ERR User 'nobody' not found
        EXISTS a                          => 0
    ",
    );
}

#[test]
fn refusals_are_logged_and_counted() {
    check_with(
        &["--acllog-max-len", "3"],
        "
        ACL SETUSER bob on >pw ~a +get    => OK
        @b AUTH bob wrong                 => WRONGPASS …
        @b AUTH bob pw                    => OK
        @b GET b                          => NOPERM …
        @b CONFIG GET x                   => NOPERM …
        @b CONFIG GET y                   => NOPERM …
        ACL LOG                           => [['count', 2, 'reason', 'command', 'context', 'toplevel', 'object', 'config|get', 'username', 'bob', 'age-seconds', '0…', 'client-info', 'id=… cmd=config|get user=bob redir=-1 …', 'entry-id', 2, 'timestamp-created', …, 'timestamp-last-updated', …], ['count', 1, 'reason', 'key', 'context', 'toplevel', 'object', 'b', …], ['count', 1, 'reason', 'auth', 'context', 'toplevel', 'object', 'AUTH', 'username', 'bob', …, 'entry-id', 0, …]] || [{'count': 2, 'reason': 'command', …, 'age-seconds': ,0…, …}, …]
        ACL LOG 1                         => *
        INFO stats                        => '…acl_access_denied_auth:1\\r\\nacl_access_denied_cmd:2\\r\\nacl_access_denied_key:1\\r\\nacl_access_denied_channel:0\\r\\n…'
        @b DEL x                          => NOPERM …
        @b INCR x                         => NOPERM …
        ACL LOG                           => [[…'incr'…], […'del'…], […'config|get'…]] || [{…'incr'…}, {…'del'…}, {…'config|get'…}]
        ACL LOG -1                        => []
        ACL LOG x                         => ERR value is not an integer or out of range
        CONFIG RESETSTAT                  => OK
        INFO stats                        => '…acl_access_denied_auth:0\\r\\nacl_access_denied_cmd:0\\r\\n…'
        ACL LOG RESET                     => OK
        ACL LOG                           => []
        ACL SETUSER bob +multi            => OK
        @b MULTI                          => OK
        @b DEL x                          => NOPERM …
        ACL LOG                           => [['count', 1, 'reason', 'command', 'context', 'multi', 'object', 'del', …]] || [{'count': 1, 'reason': 'command', 'context': 'multi', …}]
        CONFIG SET acllog-max-len 0       => OK
        @b DEL x                          => NOPERM …
        ACL LOG                           => []
    ",
    );
}

#[test]
fn requirepass_is_the_default_users_password_and_permissions_outlive_it() {
    check_with(
        &[],
        "
        @b PING                           => PONG
        CONFIG SET requirepass one        => OK
        CONFIG SET requirepass two        => OK
        PING                              => PONG
        ACL SETUSER bob on nopass +ping   => OK
        @b HELLO 3 AUTH default two       => {…}
        @b RESET                          => RESET
        @b PING                           => NOAUTH Authentication required.
        @b AUTH one                       => WRONGPASS invalid username-password pair or user is disabled.
        @b HELLO 3 AUTH bob anything      => {…}
        @b PING                           => PONG
        @b RESET                          => RESET
        @b AUTH two                       => OK
        CONFIG SET requirepass ''         => OK
        AUTH x                            => ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
        ACL SETUSER default off           => OK
        RESET                             => RESET
        PING                              => NOAUTH Authentication required.
        AUTH default x                    => WRONGPASS invalid username-password pair or user is disabled.
    ",
    );
}

/// Does the server close this connection soon?
fn is_closed(client: &mut Client) -> bool {
    while client.fill(Duration::from_secs(20)).expect("closed in time") {}
    true
}

#[test]
fn connections_of_deleted_users_are_closed_on_every_loop_and_others_go_on() {
    for &engine in engines() {
        let server = Server::start_on(engine, &[]);
        let mut boss = server.client();
        assert_eq!(boss.run("ACL SETUSER bob on nopass allkeys +@all").to_string(), "OK");
        let mut bobs: Vec<Client> = (0..4).map(|_| server.client()).collect();
        bobs.iter_mut().for_each(|bob| assert_eq!(bob.run("AUTH bob x").to_string(), "OK"));
        let list = boss.run("CLIENT LIST").text();
        assert_eq!(list.matches(" user=bob ").count(), 4, "{list}");
        assert_eq!(boss.run("CLIENT KILL USER bob ID 9999").to_string(), "0");
        // One deletes itself and hears of it.
        assert_eq!(bobs[3].run("ACL DELUSER bob").to_string(), "1");
        assert!(bobs.iter_mut().all(is_closed));
        assert_eq!(boss.run("PING").to_string(), "PONG");
        assert_eq!(boss.run("CLIENT KILL USER bob").to_string(), "ERR No such user 'bob'");
    }
}

/// Whoever has read the reply finds those in no list and in no count who may not listen any more, whatever loop they are on.
#[test]
fn who_may_not_listen_any_more_is_gone_before_the_change_is_answered() {
    for &engine in engines() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.acl");
        fs::write(&path, "user bob on nopass +@all ~* resetchannels\n").expect("a file");
        let server = Server::start_on(engine, &["--threads", "3", "--aclfile", path.to_str().expect("UTF-8")]);
        let mut boss = server.client();
        let mut stays = server.client();
        stays.run("SUBSCRIBE news");
        for round in 0..30 {
            assert_eq!(boss.run("ACL SETUSER bob on nopass +@all resetchannels &news &w*").to_string(), "OK");
            let mut bobs: Vec<Client> = (0..9).map(|_| server.client()).collect();
            for (at, bob) in bobs.iter_mut().enumerate() {
                bob.run("AUTH bob x");
                bob.run(["SUBSCRIBE news", "PSUBSCRIBE w*", "SSUBSCRIBE news"][at % 3]);
            }
            assert_eq!(boss.run("PUBSUB NUMSUB news").to_string(), "['news', 4]");
            let change = if round % 2 == 0 { "ACL SETUSER bob resetchannels" } else { "ACL LOAD" };
            boss.send(format!("{change}\r\nCLIENT LIST TYPE pubsub\r\nPUBLISH news x\r\nPUBSUB NUMPAT\r\n").as_bytes());
            boss.send(b"PUBSUB SHARDNUMSUB news\r\nINFO clients\r\n");
            let told = boss.replies(6);
            assert_eq!((told[0].to_string().as_str(), told[1].text().lines().count()), ("OK", 1), "{}", told[1].text());
            let counts = [told[2].to_string(), told[3].to_string(), told[4].to_string()];
            assert_eq!(counts, ["1", "0", "['news', 0]"], "round {round}, {engine:?}");
            assert!(told[5].text().contains("\r\nconnected_clients:2\r\n"), "{}", told[5].text());
            assert!(bobs.iter_mut().all(is_closed));
        }
        // In a transaction nobody can wait: the reply comes at once.
        boss.send(b"MULTI\r\nACL SETUSER bob on\r\nEXEC\r\n");
        assert_eq!(boss.replies(3)[2].to_string(), "[OK]");
    }
}

#[test]
fn the_acl_file_is_saved_and_loaded_as_a_whole() {
    for &engine in engines() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.acl");
        fs::write(&path, "user bob on nopass ~* +@all\n\nuser eve on nopass allkeys +get (%R~x +mget)\n")
            .expect("a file");
        let server = Server::start_on(engine, &["--aclfile", path.to_str().expect("UTF-8")]);
        let (mut boss, mut bob, mut eve) = (server.client(), server.client(), server.client());
        assert_eq!(bob.run("AUTH bob x").to_string(), "OK");
        assert_eq!(eve.run("AUTH eve x").to_string(), "OK");
        assert_eq!(boss.run("ACL SETUSER ann on").to_string(), "OK");
        assert_eq!(boss.run("ACL SAVE").to_string(), "OK");
        let saved = fs::read_to_string(&path).expect("the saved file");
        let lines: Vec<_> = saved.lines().collect();
        assert_eq!(lines[0], "user ann on sanitize-payload resetchannels -@all");
        assert_eq!(
            lines[3],
            "user eve on nopass sanitize-payload ~* resetchannels -@all +get (%R~x resetchannels -@all +mget)"
        );
        // A fault anywhere: nothing changes.
        fs::write(&path, "user bob off\nuser eve +nosuch\nuser bob on\n").expect("a file");
        let shown = path.display();
        assert_eq!(
            boss.run("ACL LOAD").to_string(),
            format!(
                "ERR {shown}:2: Error in applying operation '+nosuch': Unknown command or category name in ACL. WARNING: \
                 Duplicate user 'bob' found on line 3. WARNING: ACL errors detected, no change to the previously active \
                 ACL rules was performed"
            )
        );
        assert_eq!(bob.run("GET k").to_string(), "(nil)");
        // Whoever is still in the file goes on, with the new permissions.
        fs::write(&path, "user bob on nopass ~* -@all +ping\n").expect("a file");
        assert_eq!(boss.run("ACL LOAD").to_string(), "OK");
        assert!(is_closed(&mut eve));
        assert_eq!(bob.run("PING").to_string(), "PONG");
        assert_eq!(bob.run("GET k").to_string(), "NOPERM User bob has no permissions to run the 'get' command");
        assert_eq!(boss.run("ACL USERS").to_string(), "['bob', 'default']");
        fs::remove_file(&path).expect("the file");
        let missing = format!("ERR Error loading ACLs, opening file '{shown}': No such file or directory");
        assert_eq!(boss.run("ACL LOAD").to_string(), missing);
    }
}

#[test]
fn users_of_the_configuration_are_there_from_the_start() {
    let default: &[&str] = &["--user", "default", "on", "nopass", "~*", "+@all", "-flushdb"];
    let others = ["--user", "bob", "on", ">pw", "~b*", "+get", "--user", "eve", "on", "nopass", "(+get ~e)"];
    let server = Server::start(&[default, &others].concat());
    let mut client = server.client();
    assert_eq!(
        client.run("FLUSHDB").to_string(),
        "NOPERM User default has no permissions to run the 'flushdb' command"
    );
    assert_eq!(client.run("ACL USERS").to_string(), "['bob', 'default', 'eve']");
    assert_eq!(client.run("AUTH bob pw").to_string(), "OK");
    let refused = |options: &[&str]| Server::try_start(options).err().expect("it does not start");
    assert!(refused(&["--user", "foo", "--user", "foo"]).contains("Duplicate user"));
    assert!(refused(&["--user", "foo", "+nosuch"]).contains("Unknown command or category name in ACL"));
    assert!(refused(&["--user", "foo", "--aclfile", "/x"]).contains("but not both"));
    assert!(refused(&["--aclfile", "/nonexistent/x"]).contains("Aborting Redis startup because of ACL errors"));
}

/// An address of this machine that is not the loopback's. No packet is sent.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[test]
fn without_a_password_only_this_machine_is_served() {
    let Some(address) = own_address() else { return loudly("SKIPPED: protected mode, for want of a second address") };
    for &engine in engines() {
        let server = Server::start_on(engine, &["--bind", "0.0.0.0"]);
        let remote = || Client::over(TcpStream::connect((address, server.port)).expect("it listens everywhere"));
        let mut local = server.client();
        let denied = String::from_utf8(remote().until_closed()).expect("text");
        assert!(denied.starts_with("-DENIED Redis is running in protected mode because"), "{denied}");
        assert!(denied.ends_with("for the server to start accepting connections from the outside.\r\n"), "{denied}");
        assert_eq!(local.run("CONFIG SET protected-mode no").to_string(), "OK");
        assert_eq!(remote().run("PING").to_string(), "PONG");
        assert_eq!(local.run("CONFIG SET protected-mode yes").to_string(), "OK");
        assert!(!remote().until_closed().is_empty());
        assert_eq!(local.run("ACL SETUSER default resetpass >pw").to_string(), "OK");
        assert_eq!(remote().run("PING").to_string(), "NOAUTH Authentication required.");
        assert_eq!(local.run("INFO stats").text().matches("rejected_connections:2").count(), 1);
    }
}

/// Rules and commands of all kinds, from a small stock so that they meet.
fn random_line(random: &mut Random) -> String {
    const NAMES: &[&str] = &["bob", "eve", "x y", "default2"];
    const RULES: &[&str] = &[
        "on",
        "off",
        "nopass",
        "resetpass",
        ">pw",
        "<pw",
        ">b",
        "!00",
        "allkeys",
        "resetkeys",
        "~a*",
        "~b",
        "%R~c*",
        "%W~[ab]?",
        "%RW~d",
        "%~x",
        "allchannels",
        "resetchannels",
        "&c",
        "&*",
        "~*",
        "+get",
        "-get",
        "+set",
        "+@string",
        "-@write",
        "+@all",
        "nocommands",
        "+config|get",
        "-config|get",
        "+config|nosuch",
        "+config|get|x",
        "+select|0",
        "+select|",
        "-select|0",
        "+nosuch",
        "+@nosuch",
        "(+get ~a*)",
        "(+set",
        "%R~b)",
        "()",
        "clearselectors",
        "reset",
        "sanitize-payload",
        "skip-sanitize-payload",
        "",
        "~a b",
        "foo",
        "+",
        "-",
        "~",
        "&",
        "%",
    ];
    const COMMANDS: &[&str] = &[
        "GET a",
        "GET ab",
        "GET b",
        "SET a 1",
        "SET b 1 GET",
        "MGET a b c",
        "MSET a 1 d 2",
        "GETSET b 1",
        "APPEND ab x",
        "COPY a b",
        "EXISTS c",
        "DEL bb",
        "RENAME a d",
        "BITFIELD c GET u8 0",
        "BITFIELD c SET u8 0 1",
        "STRLEN c1",
        "CONFIG GET x",
        "SELECT 0",
        "SELECT 1",
        "PING",
        "AUTH x",
        "TYPE zz",
        "TTL a",
        "GETEX c EX 1",
        "LCS a c1",
        "GET",
        "OBJECT ENCODING a",
        "SETRANGE d 0 x",
        "NOSUCH",
        "BITOP AND d a b",
        "TOUCH a b",
        "SCAN 0",
        "EXPIRE c 1",
    ];
    let name = random.pick(NAMES);
    if random.below(3) == 0 {
        let rules: Vec<_> = (0..1 + random.below(3)).map(|_| format!("\"{}\"", random.pick(RULES))).collect();
        format!("ACL SETUSER \"{name}\" {}", rules.join(" "))
    } else {
        format!("ACL DRYRUN \"{name}\" {}", random.pick(COMMANDS))
    }
}

/// 7.0 says `This user`, 7.2 names the user.
fn in_the_words_of_7_0(reply: &str) -> String {
    match reply.find(" has no permissions") {
        Some(at) if reply.starts_with("'User ") => format!("'This user{}", &reply[at..]),
        _ => reply.to_string(),
    }
}

#[test]
fn random_rules_mean_the_same_to_redis() {
    let (ours, theirs) = (Server::start(&[]), Server::reference());
    let (mut ours, mut theirs) = (ours.client(), theirs.client());
    let mut random = Random::seeded(72);
    for round in 0..20_000 {
        let line = random_line(&mut random);
        let (got, expected) = (ours.run(&line).to_string(), theirs.run(&line).to_string());
        assert_eq!(in_the_words_of_7_0(&got), expected, "round {round}: {line}");
    }
}

#[test]
fn who_takes_its_own_channels_away_reads_that_and_is_closed() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut boss = server.client();
        for _ in 0..4 {
            boss.run("ACL SETUSER eve on nopass +@all resetchannels &a");
            let mut eve = server.client();
            eve.send(b"HELLO 3 AUTH eve any\r\nSUBSCRIBE a\r\nACL SETUSER eve resetchannels\r\nPING\r\n");
            let said = eve.until_closed();
            assert!(said.ends_with(b":1\r\n+OK\r\n"), "{:?}", String::from_utf8_lossy(&said));
            assert!(!boss.run("CLIENT LIST").text().contains("user=eve"));
        }
    }
}
