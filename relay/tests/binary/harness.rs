//! Starting, watching and ending `sluice`. Waits for conditions, never for time; every wait has an
//! end, so a hang is a failure and not a stuck run.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// No wait here takes longer on a machine that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A data folder and the files around it.
pub(crate) struct Place {
    root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A file of `len` bytes that no other length starts with.
    pub(crate) fn file(&self, name: &str, len: usize) -> PathBuf {
        let path = self.path(name);
        let mut state = len as u64 ^ 0x9e37_79b9_7f4a_7c15;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(len)
        .collect();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A file of `mib` MiB that costs no disk: what takes time here is publishing it.
    pub(crate) fn large_file(&self, mib: u64) -> PathBuf {
        let path = self.path("large.mp4");
        File::create(&path).unwrap().set_len(mib << 20).unwrap();
        path
    }

    /// `sluice ARGS --data DATA`, in an environment without settings.
    pub(crate) fn sluice<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, args: I) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SLUICE_")) {
            command.env_remove(name);
        }
        command
            .args(args)
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end, which must be a good one; returns stdout's lines.
    #[track_caller]
    pub(crate) fn run<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(
        &self,
        args: I,
    ) -> Vec<String> {
        let output = self.sluice(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {stderr}", output.status);
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Runs to the end, which must be a failure told in one line; returns that line.
    #[track_caller]
    pub(crate) fn fail<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, args: I) -> String {
        one_line(&self.sluice(args).output().unwrap())
    }

    /// Publishes files under a title; returns the id.
    #[track_caller]
    pub(crate) fn publish(&self, title: &str, files: &[&Path]) -> String {
        let mut args: Vec<&std::ffi::OsStr> = vec!["publish".as_ref()];
        args.extend(files.iter().map(|file| file.as_os_str()));
        args.extend(["--title".as_ref(), title.as_ref()] as [&std::ffi::OsStr; 2]);
        self.run(args).pop().unwrap()
    }

    /// All works, as JSON.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<serde_json::Value> {
        let lines = self.run(["list", "--json"]);
        serde_json::from_str(&lines.concat()).unwrap()
    }

    /// Files under `blocks/`.
    pub(crate) fn blocks(&self) -> Vec<PathBuf> {
        files_under(&self.data().join("blocks"))
    }

    /// Files of publishes in flight.
    pub(crate) fn incoming(&self) -> Vec<PathBuf> {
        files_under(&self.data().join("incoming"))
    }

    /// Starts a relay and waits until it listens.
    #[track_caller]
    pub(crate) fn serve(&self, args: &[&str]) -> Relay {
        let mut command = self.sluice(["serve", "--http", "127.0.0.1:0"]);
        command.args(args);
        Relay::start(command, &self.path("serve.log"))
    }
}

/// The single line of stderr of a failed run.
#[track_caller]
pub(crate) fn one_line(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned();
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| code != 0),
        "{}: {stderr}",
        output.status
    );
    // `serve` logs before it fails; the failure is its last line.
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.contains(" WARN ") && !line.contains(" INFO "))
        .collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    lines[0]
        .strip_prefix("sluice: ")
        .expect("names the program")
        .to_owned()
}

/// Files anywhere under a folder; folders that vanish meanwhile are fine.
pub(crate) fn files_under(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                files_under(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Waits until `done`; looks a thousand times a second, so that a publish is not slowed by the look.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Sends a signal to a process that this test started.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A running `sluice serve`; killed when dropped.
pub(crate) struct Relay {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) log: PathBuf,
}

impl Relay {
    #[track_caller]
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let Some(url) = line.trim_end().strip_prefix("listening on ") else {
            panic!(
                "no address, but {line:?}: {}",
                fs::read_to_string(log).unwrap()
            );
        };
        Self {
            child,
            url: url.to_owned(),
            log: log.into(),
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Stops it politely; returns whether it ended well.
    pub(crate) fn stop(mut self) -> bool {
        signal(&self.child, Signal::TERM);
        self.child.wait().unwrap().success()
    }

    /// `GET path`.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    /// Any request, as written: nothing between us and the wire mends it.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut stream = std::net::TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(stream)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn read(mut stream: impl std::io::Read) -> Self {
        let mut bytes = Vec::new();
        // A reset after the answer is an end as well.
        let result = stream.read_to_end(&mut bytes);
        assert!(result.is_ok() || !bytes.is_empty(), "no answer: {result:?}");
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a header");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks that this is a problem document of `status` whose detail contains `detail`.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, detail: &str) {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        let json = self.json();
        assert_eq!(json["status"], status);
        assert_eq!(json["type"], "about:blank");
        assert!(json["title"].is_string());
        let text = json["detail"].as_str().unwrap();
        assert!(text.contains(detail), "{text:?} does not say {detail:?}");
    }
}
