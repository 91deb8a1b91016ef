//! The sample library: what ffmpeg computes, and what people read about it.
//!
//! Two codec families on purpose, H.264/AAC in MP4 and VP9/Opus in WebM: between them they play in every browser.

/// Seconds a clip lasts: long enough to seek in, short enough to make in seconds.
const SECONDS: u32 = 40;

/// Frames per second of every clip.
const RATE: u32 = 30;

/// Width of a poster, twice as wide as a card of the grid; any of ours then stays below the 256 KiB a poster may have.
const POSTER_WIDTH: u32 = 640;

/// One video of the library.
pub(super) struct Clip {
    /// Its file name; the ending decides container and codecs.
    pub(super) file: &'static str,
    /// Title of its card.
    pub(super) title: &'static str,
    /// Description of its card.
    pub(super) description: &'static str,
    /// Tags of its card, separated by commas.
    pub(super) tags: &'static str,
    /// ffmpeg filter that computes the picture, 1280 by 720.
    picture: &'static str,
    /// ffmpeg expression of the sound, in `t` seconds.
    sound: &'static str,
    /// Second of the clip that makes a good poster.
    poster_at: u32,
}

/// All clips, oldest first: the last one stands first on the page.
pub(super) const CLIPS: [Clip; 6] = [
    Clip {
        file: "test-card.mp4",
        title: "Moving test card",
        description: "The test picture every player is measured with: colour bars, a running clock and a frame counter. \
                      Seek anywhere and read off whether you arrived.",
        tags: "test,clock",
        picture: "testsrc2=size=1280x720:rate=30",
        // A short beep at every full second.
        sound: "0.2*sin(2*PI*880*t)*lt(mod(t,1),0.06)",
        poster_at: 7,
    },
    Clip {
        file: "colour-drift.webm",
        title: "Colour drift",
        description: "A night blue turns into sea green across one glowing edge, and the edge turns slowly. Nothing but \
                      gradient, which is where a codec has nowhere to hide its bands.",
        tags: "abstract,colour",
        picture: "gradients=size=1280x720:rate=30:nb_colors=4:speed=0.012:seed=7:c0=0x1b2a6b:c1=0xe4572e:c2=0xf3a712:c3=0x29b6a6",
        sound: "0.06*(sin(2*PI*110*t)+sin(2*PI*165*t)+sin(2*PI*220.5*t))*(0.7+0.3*sin(2*PI*0.1*t))",
        poster_at: 12,
    },
    Clip {
        file: "sierpinski.mp4",
        title: "Over the Sierpinski carpet",
        description: "A slow flight across a fractal that is all holes: at every size the same pattern, nine squares with \
                      the middle one missing.",
        tags: "fractal,mathematics",
        picture: "sierpinski=size=1280x720:rate=30:seed=3:jump=60,colorchannelmixer=rr=0.95:gg=0.62:bb=0.38",
        sound: "0.08*(sin(2*PI*98*t)+sin(2*PI*147*t))*(0.6+0.4*sin(2*PI*0.07*t))",
        poster_at: 5,
    },
    Clip {
        file: "rule-110.webm",
        title: "Rule 110",
        description: "One row of cells, one small rule, and each new row grows from the last. Simple enough for a postcard, \
                      and proven able to compute anything.",
        tags: "automaton,mathematics",
        picture: "cellauto=size=320x180:rate=30:rule=110:random_seed=11:random_fill_ratio=0.35,\
                  scale=1280:720:flags=neighbor,format=gbrp,colorchannelmixer=rr=0.35:gg=0.85:bb=0.72",
        sound: "0.07*sin(2*PI*(220+55*floor(mod(t*2,4)))*t)*exp(-4*mod(t*2,1))",
        poster_at: 10,
    },
    Clip {
        file: "game-of-life.mp4",
        title: "Game of Life",
        description: "Conway's game from a random start: crowds die out, gliders escape, and what is left settles into \
                      blinkers. Cells leave a glow where they have been.",
        tags: "automaton,life",
        picture: "life=size=320x180:rate=30:mold=10:random_seed=42:random_fill_ratio=0.18:life_color=#ffe8a3:\
                  death_color=#c4472b:mold_color=#101a2e,scale=1280:720:flags=neighbor",
        sound: "0.05*sin(2*PI*(330+110*floor(mod(t,3)))*t)*exp(-3*mod(t,1))+0.03*sin(2*PI*82.4*t)",
        poster_at: 3,
    },
    Clip {
        file: "mandelbrot.mp4",
        title: "Into the Mandelbrot set",
        description: "Forty seconds of zooming into the edge of the best-known fractal. The picture never repeats, and the \
                      formula fits into one line.",
        tags: "fractal,mathematics",
        picture: "mandelbrot=size=640x360:rate=30:maxiter=600:end_scale=0.0006:end_pts=1200:inner=black,scale=1280:720:flags=bicubic",
        sound: "0.07*(sin(2*PI*65.4*t)+sin(2*PI*98*t)+0.6*sin(2*PI*130.8*(t+0.002*sin(3*t))))",
        poster_at: 24,
    },
];

impl Clip {
    /// Name of the poster's file.
    pub(super) fn poster_file(&self) -> String {
        format!("{}.jpg", self.file)
    }

    /// ffmpeg arguments that make the video, without its name.
    pub(super) fn video_arguments(&self) -> Vec<String> {
        let sound = format!(
            "aevalsrc={}:sample_rate=48000",
            self.sound.replace(',', "\\,")
        );
        let mut arguments = words("-f lavfi -i");
        arguments.push(self.picture.to_owned());
        arguments.extend(words("-f lavfi -i"));
        arguments.push(sound);
        // A key frame every two seconds, so that seeking is quick everywhere.
        arguments.extend(words(&format!(
            "-t {SECONDS} -r {RATE} -g {} -pix_fmt yuv420p",
            2 * RATE
        )));
        arguments.extend(words(if self.file.ends_with(".webm") {
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -row-mt 1 -b:v 0 -crf 34 -c:a libopus -b:a 96k -ac 2"
        } else {
            "-c:v libx264 -preset veryfast -crf 27 -c:a aac -b:a 128k -ac 2 -movflags +faststart"
        }));
        arguments
    }

    /// ffmpeg arguments that take the poster out of the video, without its name.
    pub(super) fn poster_arguments(&self, video: &std::path::Path) -> Vec<String> {
        let mut arguments = words(&format!("-ss {} -i", self.poster_at));
        arguments.push(video.to_string_lossy().into_owned());
        arguments.extend(words(&format!(
            "-frames:v 1 -vf scale={POSTER_WIDTH}:-2 -q:v 5"
        )));
        arguments
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_differ_and_none_contains_another() {
        for clip in &CLIPS {
            let same = CLIPS
                .iter()
                .filter(|other| other.title.contains(clip.title))
                .count();
            assert_eq!(
                same, 1,
                "{} could be taken for another when the library is listed",
                clip.title
            );
        }
    }

    #[test]
    fn posters_lie_inside_their_clips() {
        assert!(CLIPS.iter().all(|clip| clip.poster_at < SECONDS));
    }
}
