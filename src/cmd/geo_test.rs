//! Scenarios of the geo family. Replies were taken from Redis 7.0.

use super::testkit::check;

const SICILY: &str = "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania => 2\n";

fn check_sicily(scenario: &str) {
    check(&format!("{SICILY}{scenario}"));
    check(&format!("CONFIG SET zset-max-listpack-entries 0 => OK\n{SICILY}{scenario}"));
}

#[test]
fn geoadd_stores_places_as_scores() {
    check_sicily(
        "
        ZSCORE g Palermo           => '3479099956230698' || ,3479099956230698
        GEOADD g NX 1 1 Palermo    => 0
        GEOADD g XX 1 1 Nowhere    => 0
        GEOADD g CH 13.361389 38.2 Palermo 1 1 c => 2
        GEOADD g XX NX 1 1 a       => ERR syntax error
        GEOADD g 1 1               => ERR wrong number of arguments for 'geoadd' command
        GEOADD g 1 1 a 2           => ERR syntax error
        GEOADD g CH CH CH          => ERR syntax error
        GEOADD g 200 10 a          => ERR invalid longitude,latitude pair 200.000000,10.000000
        GEOADD g 1 86 a            => ERR invalid longitude,latitude pair 1.000000,86.000000
        GEOADD g x 10 a            => ERR value is not a valid float
        SET s x                    => OK
        GEOADD s 1 1 a             => WRONGTYPE Operation against a key holding the wrong kind of value
    ",
    );
}

#[test]
fn positions_distances_and_texts() {
    check_sicily(
        "
        GEOPOS g Palermo nobody    => [['13.36138933897018433', '38.11555639549629859'], (nil)] || [[,13.36138933897018433, ,38.11555639549629859], (nil)]
        GEOPOS nokey a             => [(nil)]
        GEOPOS g                   => []
        GEOHASH g Palermo Catania nobody => ['sqc8b49rny0', 'sqdtr74hyu0', (nil)]
        GEOHASH nokey a            => [(nil)]
        GEODIST g Palermo Catania  => '166274.1516'
        GEODIST g Palermo Catania km => '166.2742'
        GEODIST g Palermo Catania MI => '103.3182'
        GEODIST g Palermo Palermo  => '0.0000'
        GEODIST g Palermo nobody   => (nil)
        GEODIST nokey a b          => (nil)
        GEODIST g Palermo Catania x => ERR unsupported unit provided. please use M, KM, FT, MI
        GEODIST g Palermo Catania m x => ERR syntax error
    ",
    );
}

#[test]
fn searches_give_what_is_in_the_area() {
    check_sicily(
        "
        GEORADIUS g 15 37 200 km ASC => ['Catania', 'Palermo']
        GEORADIUS g 15 37 200 km WITHDIST WITHCOORD WITHHASH COUNT 1 => [['Catania', '56.4413', 3479447370796909, ['15.08726745843887329', '37.50266842333162032']]] || [['Catania', '56.4413', 3479447370796909, [,15.08726745843887329, ,37.50266842333162032]]]
        GEORADIUS g 15 37 10 km    => []
        GEORADIUS g 15 37 200 km COUNT 1 DESC => ['Palermo']
        GEORADIUS g 15 37 200 km COUNT 1 ANY  => *
        GEORADIUS g 15 37 200 km ANY => ERR the ANY argument requires COUNT argument
        GEORADIUS g 15 37 200 km COUNT 0 => ERR COUNT must be > 0
        GEORADIUS g 15 37 200 km COUNT x => ERR value is not an integer or out of range
        GEORADIUS g 15 37 x km     => ERR need numeric radius
        GEORADIUS g 15 37 -1 km    => ERR radius cannot be negative
        GEORADIUS g 15 37 1 lightyears => ERR unsupported unit provided. please use M, KM, FT, MI
        GEORADIUS g 15 37 200 km STORE => ERR syntax error
        GEORADIUS_RO g 15 37 200 km STORE d => ERR syntax error
        GEORADIUS nokey 15 37 200 km => []
        GEORADIUS g 200 37 200 km  => ERR invalid longitude,latitude pair 200.000000,37.000000
        GEORADIUSBYMEMBER g Palermo 200 km => ['Palermo', 'Catania']
        GEORADIUSBYMEMBER_RO g Catania 1 m => ['Catania']
        GEORADIUSBYMEMBER g nobody 1 m => ERR could not decode requested zset member
        GEORADIUSBYMEMBER nokey nobody x y => []
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 100 km => ['Palermo']
        GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC => ['Catania', 'Palermo']
        GEOSEARCH g FROMLONLAT 15 37 BYBOX 10 400 km => []
        GEOSEARCH g FROMLONLAT 15 37 BYBOX -1 400 km => ERR height or width cannot be negative
        GEOSEARCH g FROMLONLAT 15 37 BYBOX x 400 km => ERR need numeric width
        GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 x km => ERR need numeric height
        GEOSEARCH g FROMLONLAT 15 37 FROMMEMBER Palermo BYRADIUS 1 m => ERR syntax error
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 1 m BYBOX 1 1 m => ERR syntax error
        GEOSEARCH g FROMLONLAT 15 37 ASC WITHDIST => ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH
        GEOSEARCH g BYRADIUS 1 m ASC WITHDIST => ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH
        GEOSEARCH nokey FROMMEMBER a BYRADIUS 1 m => []
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST => ERR syntax error
    ",
    );
}

#[test]
fn what_is_found_can_be_stored() {
    check_sicily(
        "
        GEORADIUS g 15 37 200 km STORE d => 2
        GEODIST d Palermo Catania  => '166274.1516'
        GEORADIUS g 15 37 200 km STOREDIST d COUNT 1 => 1
        ZRANGE d 0 -1 WITHSCORES   => ['Catania', '56.4412578701582'] || [['Catania', ,56.4412578701582]]
        GEORADIUS g 15 37 200 km STORE d WITHDIST => ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km WITHDIST => ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km => 2
        GEOSEARCHSTORE d g FROMLONLAT 0 0 BYRADIUS 1 km => 0
        EXISTS d                   => 0
        GEOSEARCHSTORE g g FROMMEMBER Palermo BYRADIUS 1 km STOREDIST => 1
        ZSCORE g Palermo           => '0' || ,0
        GEORADIUSBYMEMBER g Palermo 1 km STORE g => *
        GEORADIUS nokey 15 37 200 km STORE g => 0
        EXISTS g                   => 0
        SET s x                    => OK
        GEORADIUS s 15 37 200 km STORE g => WRONGTYPE Operation against a key holding the wrong kind of value
    ",
    );
}
