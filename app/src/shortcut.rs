//! What a key press means on the watch page, so that it never fights typing or the native controls.

/// Where the focus is when the key goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// Nowhere in particular.
    Page,
    /// The player: the browser's own controls answer to space and the arrows there.
    Player,
    /// A link, button or disclosure: space and enter press it.
    Control,
    /// A field: every key is its own.
    Field,
}

/// What to do with the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Play, or pause.
    Toggle,
    /// Move by seconds, backwards when negative.
    Skip(i8),
    /// Go to this many tenths of the whole.
    Tenth(u8),
    /// Sound on or off.
    Mute,
    /// Fill the screen, or stop doing so.
    Fullscreen,
    /// Show or hide the list of keys.
    Help,
}

/// Every key with its meaning, in the order of the help.
pub const HELP: [(&str, &str); 7] = [
    ("k or space", "play or pause"),
    ("j or l", "back or forward 10 seconds"),
    ("← or →", "back or forward 5 seconds"),
    ("0 to 9", "go to that tenth of the video"),
    ("m", "sound on or off"),
    ("f", "full screen"),
    ("?", "this list"),
];

/// Reads `KeyboardEvent.key`. `modified` says whether Ctrl, Alt or Meta is down: those belong to the browser.
#[must_use]
pub fn action(key: &str, modified: bool, focus: Focus) -> Option<Action> {
    if modified || focus == Focus::Field {
        return None;
    }
    let native = focus == Focus::Player;
    match key {
        " " => (focus == Focus::Page).then_some(Action::Toggle),
        "k" | "K" => Some(Action::Toggle),
        "j" | "J" => Some(Action::Skip(-10)),
        "l" | "L" => Some(Action::Skip(10)),
        "ArrowLeft" => (!native).then_some(Action::Skip(-5)),
        "ArrowRight" => (!native).then_some(Action::Skip(5)),
        "m" | "M" => Some(Action::Mute),
        "f" | "F" => Some(Action::Fullscreen),
        "?" => Some(Action::Help),
        _ => match key.as_bytes() {
            [digit @ b'0'..=b'9'] => Some(Action::Tenth(digit - b'0')),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, focus: Focus, want: Option<Action>) {
        assert_eq!(action(key, false, focus), want, "{key:?} on {focus:?}");
    }

    #[test]
    fn keys_act_from_anywhere_on_the_page() {
        check(" ", Focus::Page, Some(Action::Toggle));
        check("k", Focus::Page, Some(Action::Toggle));
        check("j", Focus::Page, Some(Action::Skip(-10)));
        check("ArrowRight", Focus::Page, Some(Action::Skip(5)));
        check("7", Focus::Page, Some(Action::Tenth(7)));
        check("M", Focus::Page, Some(Action::Mute));
        check("f", Focus::Page, Some(Action::Fullscreen));
        check("?", Focus::Page, Some(Action::Help));
    }

    #[test]
    fn the_players_own_keys_stay_its_own() {
        check(" ", Focus::Player, None);
        check("ArrowLeft", Focus::Player, None);
        check("k", Focus::Player, Some(Action::Toggle));
    }

    #[test]
    fn space_presses_the_focused_button_and_nothing_else() {
        check(" ", Focus::Control, None);
        check("m", Focus::Control, Some(Action::Mute));
    }

    #[test]
    fn typing_is_never_a_shortcut() {
        for key in [" ", "k", "5", "?", "ArrowLeft"] {
            check(key, Focus::Field, None);
        }
    }

    #[test]
    fn the_browsers_chords_are_left_alone() {
        assert_eq!(action("l", true, Focus::Page), None);
    }

    #[test]
    fn other_keys_mean_nothing() {
        for key in ["", "Tab", "Enter", "a", "F5", "ArrowUp", "½", "10"] {
            check(key, Focus::Page, None);
        }
    }
}
