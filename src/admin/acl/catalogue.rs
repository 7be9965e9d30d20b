//! The commands as ACL rules see them: a number, a full name, categories, and which of them are subcommands.
//!
//! The registry is built once from the command table, which lives in a higher layer. A selector's permissions are bits by
//! these numbers; they are the dense indexes of the table's rows.

/// One command or subcommand.
#[derive(Clone, Debug)]
pub struct Known {
    /// Lower case; a subcommand is written `container|word`.
    pub name: String,
    /// Bits of the categories.
    pub categories: u32,
    /// The container of a subcommand.
    pub container: Option<u16>,
    /// A container's subcommands.
    pub subs: Vec<u16>,
}

/// All commands by their number, and the names of the categories.
#[derive(Clone, Debug)]
pub struct Catalogue {
    commands: Vec<Known>,
    /// Commands from this number on can be named and not be run.
    runnable_count: usize,
    categories: &'static [(u32, &'static str)],
}

impl Catalogue {
    /// A catalogue of `commands`; each one's place is its number. The first `runnable_count` can be run.
    pub fn new(commands: Vec<Known>, categories: &'static [(u32, &'static str)], runnable_count: usize) -> Self {
        Catalogue { commands, runnable_count, categories }
    }
    /// Can this command be run?
    pub fn is_runnable(&self, number: u16) -> bool {
        (number as usize) < self.runnable_count
    }
    /// Number of commands, subcommands included.
    pub fn count(&self) -> usize {
        self.commands.len()
    }
    /// The command with this number.
    pub fn get(&self, number: u16) -> &Known {
        &self.commands[number as usize]
    }
    /// The number of `name` or `container|word`, ASCII case aside.
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        let found = self.commands.iter().position(|known| known.name.as_bytes().eq_ignore_ascii_case(name))?;
        Some(found as u16)
    }
    /// The bit of a category, ASCII case aside.
    pub fn category(&self, name: &[u8]) -> Option<u32> {
        let found = self.categories.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(found.0)
    }
    /// The commands of a category.
    pub fn members(&self, category: u32) -> impl Iterator<Item = u16> {
        let with_numbers = self.commands.iter().enumerate();
        with_numbers.filter(move |(_, known)| known.categories & category != 0).map(|(number, _)| number as u16)
    }
}

/// A few commands for the tests of the neighbours: `get` `set` `select` `config` `config|get` `config|set`.
#[cfg(test)]
pub(super) fn sample() -> Catalogue {
    let known = |name: &str, categories, container, subs: &[u16]| Known {
        name: name.into(),
        categories,
        container,
        subs: subs.to_vec(),
    };
    let commands = vec![
        known("get", 1, None, &[]),
        known("set", 2, None, &[]),
        known("select", 4, None, &[]),
        known("config", 0, None, &[4, 5]),
        known("config|get", 8, Some(3), &[]),
        known("config|set", 8, Some(3), &[]),
    ];
    Catalogue::new(commands, &[(1, "read"), (2, "write"), (4, "connection"), (8, "admin")], 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        let catalogue = sample();
        assert_eq!(catalogue.find(b"CONFIG|Get"), Some(4));
        assert_eq!(catalogue.find(b"config|get|x"), None);
        assert_eq!(catalogue.category(b"ADMIN"), Some(8));
        assert_eq!(catalogue.members(8).collect::<Vec<_>>(), [4, 5]);
    }
}
