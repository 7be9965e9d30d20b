//! Places: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn places_are_found_by_area() {
    check(
        "
        GEOADD sicily 13.361389 38.115556 palermo 15.087269 37.502669 catania => 2
        GEODIST sicily palermo catania km => '166.2742'
        GEOHASH sicily palermo nowhere => ['sqc8b49rny0', (nil)]
        GEOPOS sicily nowhere      => [(nil)]
        GEOPOS sicily palermo      => [['13.36138933897018433', '38.11555639549629859']] || [[,13.36138933897018433, ,38.11555639549629859]]
        GEOSEARCH sicily FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHDIST => [['catania', '56.4413'], ['palermo', '190.4424']]
        GEOSEARCH sicily FROMMEMBER palermo BYBOX 400 400 km DESC => ['catania', 'palermo']
        GEOSEARCHSTORE near sicily FROMLONLAT 15 37 BYRADIUS 100 km STOREDIST => 1
        @b ZRANGE near 0 -1        => ['catania']
        GEORADIUS sicily 15 37 200 km COUNT 1 => ['catania']
        GEORADIUS_RO sicily 15 37 100 km WITHHASH => [['catania', 3479447370796909]]
        GEORADIUSBYMEMBER sicily palermo 10 km STORE near => 1
        GEORADIUSBYMEMBER_RO near palermo 1 m => ['palermo']
    ",
    );
}
