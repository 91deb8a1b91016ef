//! Choices kept on this device, and how they are spelled in `localStorage`.
//!
//! Reading never fails: an unknown spelling (an older or newer version of the page) is the default.

/// Which colours the pages use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the system is set.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// Whether this browser runs a libp2p node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeMode {
    /// The node starts after the first frame.
    #[default]
    On,
    /// Private: the node is never loaded, every chunk comes from the relay's gateway.
    GatewayOnly,
}

/// How much of the disk sealed chunks may take, in gigabytes; without a number, what the browser allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget(Option<u64>);

/// Bytes of one gigabyte, as disks are sold.
const GIGABYTE: u64 = 1_000_000_000;

impl Budget {
    /// The budgets on offer. The smallest holds a film, the largest a phone's spare room.
    pub const CHOICES: [Self; 6] = [
        Self(None),
        Self(Some(1)),
        Self(Some(2)),
        Self(Some(5)),
        Self(Some(10)),
        Self(Some(50)),
    ];

    /// The budget in bytes.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        self.0.map(|gigabytes| gigabytes * GIGABYTE)
    }

    /// The budget as people read it.
    #[must_use]
    pub fn name(self) -> String {
        self.0.map_or_else(
            || "What the browser allows".to_owned(),
            |gigabytes| format!("{gigabytes} GB"),
        )
    }
}

/// A choice with a spelling.
pub trait Choice: Copy + Default + PartialEq {
    /// Its key in `localStorage`.
    const KEY: &'static str;

    /// How the choice is written.
    fn spelled(self) -> String;

    /// Reads a spelling; anything unknown is the default.
    fn read(spelling: &str) -> Self;
}

impl Choice for Theme {
    const KEY: &'static str = "sluice.theme";

    fn spelled(self) -> String {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
        .to_owned()
    }

    fn read(spelling: &str) -> Self {
        match spelling {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::Auto,
        }
    }
}

impl Choice for NodeMode {
    const KEY: &'static str = "sluice.node";

    fn spelled(self) -> String {
        match self {
            Self::On => "on",
            Self::GatewayOnly => "gateway-only",
        }
        .to_owned()
    }

    fn read(spelling: &str) -> Self {
        match spelling {
            "gateway-only" => Self::GatewayOnly,
            _ => Self::On,
        }
    }
}

impl Choice for Budget {
    const KEY: &'static str = "sluice.budget-gb";

    fn spelled(self) -> String {
        self.0
            .map_or_else(String::new, |gigabytes| gigabytes.to_string())
    }

    fn read(spelling: &str) -> Self {
        Self::CHOICES
            .into_iter()
            .find(|choice| choice.spelled() == spelling)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    #[track_caller]
    fn survives<C: Choice + Debug>(choice: C) {
        assert_eq!(C::read(&choice.spelled()), choice);
    }

    #[test]
    fn every_choice_reads_back() {
        for theme in [Theme::Auto, Theme::Light, Theme::Dark] {
            survives(theme);
        }
        for mode in [NodeMode::On, NodeMode::GatewayOnly] {
            survives(mode);
        }
        for budget in Budget::CHOICES {
            survives(budget);
        }
    }

    #[test]
    fn the_default_budget_is_on_offer_and_has_no_number() {
        assert!(Budget::CHOICES.contains(&Budget::default()));
        assert_eq!(Budget::default().bytes(), None);
        assert_eq!(Budget::read("5").bytes(), Some(5_000_000_000));
    }

    #[test]
    fn unknown_spellings_are_the_default() {
        for odd in ["", "7", "-1", "99999999999999999999", "purple"] {
            assert_eq!(Theme::read(odd), Theme::default());
            assert_eq!(NodeMode::read(odd), NodeMode::default());
            assert_eq!(Budget::read(odd), Budget::default());
        }
    }
}
