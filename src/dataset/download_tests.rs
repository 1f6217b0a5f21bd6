//! Downloads from a real server on this machine, well and badly behaved.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};

use super::*;

const FILE: &str = "thing.gz";

/// What the server does with a request for the published bytes.
#[derive(Clone, Copy)]
enum Manner {
    Well,
    Slowly,
    CutOff,
    AnnounceLess,
    AnnounceMore,
    AnnounceHuge,
    WithoutLength,
    Endless,
    OtherBytes,
    NotFound,
    Silent,
    SilentHalfWay,
    Garbage,
    Redirect,
}

struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
}

/// Serves until the test process ends.
fn server(manner: Manner) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || answer(stream, manner));
        }
    });
    Server { url, requests }
}

fn answer(mut stream: TcpStream, manner: Manner) -> io::Result<()> {
    let (mut request, mut byte) = (Vec::new(), [0u8]);
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        request.push(byte[0]);
    }
    assert!(request.starts_with(format!("GET /{FILE} HTTP/1.1").as_bytes()));
    let body = published();
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").into_bytes();
    let pause = || -> io::Result<()> {
        sleep(Duration::from_secs(5)); // longer than the terms allow
        Ok(())
    };
    match manner {
        Manner::Well => stream.write_all(&[head(body.len()), body].concat()),
        Manner::Slowly => {
            stream.write_all(&head(body.len()))?;
            for piece in body.chunks(body.len() / 8) {
                sleep(Duration::from_millis(100));
                stream.write_all(piece)?;
            }
            Ok(())
        }
        Manner::CutOff => stream.write_all(&[&head(body.len()), &body[..body.len() / 2]].concat()),
        Manner::AnnounceLess => stream.write_all(&[head(body.len() - 10), body].concat()),
        Manner::AnnounceMore => stream.write_all(&[head(body.len() + 10), body].concat()),
        Manner::AnnounceHuge => stream.write_all(&[head(1 << 40), body].concat()),
        Manner::WithoutLength => stream.write_all(&[b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &body].concat()),
        Manner::Endless => {
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&body)?;
            }
        }
        Manner::OtherBytes => stream.write_all(&[head(5), b"hello".to_vec()].concat()),
        Manner::NotFound => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone"),
        Manner::Silent => pause(),
        Manner::SilentHalfWay => {
            stream.write_all(&[&head(body.len()), &body[..body.len() / 2]].concat())?;
            pause()
        }
        Manner::Garbage => stream.write_all(b"\x00\x01\x02 nothing like http\r\n\r\n"),
        Manner::Redirect => {
            let to = format!("https://{}/{FILE}", stream.local_addr()?);
            write!(stream, "HTTP/1.1 301 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
    }
}

/// 200,000 bytes: several reads.
fn published() -> Vec<u8> {
    (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256() -> String {
    hexadecimal(Sha256::new_with_prefix(published()))
}

/// An empty folder, removed at the end.
struct Scratch(Folder);

fn scratch(test: &str, ours: bool) -> Scratch {
    let path = env::temp_dir().join(format!("ascribe-download-{}-{test}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    Scratch(Folder { path, ours })
}

impl Scratch {
    fn fetch(&self, servers: &[&Server]) -> Result<PathBuf> {
        let mirrors: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
        fetch_on(&terms(), &mirrors, &sha256(), &self.0, FILE, &mut |_, _| ())
    }

    /// Names of all files in the folder.
    fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.0.path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn holds_the_file_alone(&self) -> bool {
        self.files().into_iter().eq([FILE.to_string()]) && fs::read(self.0.path.join(FILE)).unwrap() == published()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0.path);
    }
}

fn terms() -> Terms {
    let second = Duration::from_secs(1);
    Terms { connect: second, silence: second / 2, size: 1 << 20, proxy: None }
}

#[test]
fn a_good_server_delivers_and_is_asked_once() {
    for (name, manner) in [("well", Manner::Well), ("slowly", Manner::Slowly), ("unmeasured", Manner::WithoutLength)] {
        let (folder, server) = (scratch(name, false), server(manner));
        for _ in 0..2 {
            assert_eq!(folder.fetch(&[&server]).unwrap(), folder.0.path.join(FILE), "{name}");
            assert!(folder.holds_the_file_alone(), "{name}");
        }
        assert_eq!(server.requests.load(Ordering::SeqCst), 1, "{name}: the second time, the file is there");
    }
}

#[test]
fn a_bad_server_gives_a_clear_error_and_leaves_nothing() {
    let cases = [
        ("cut-off", Manner::CutOff, "broke off after 100000 of 200000 bytes"),
        ("less", Manner::AnnounceLess, &format!("expected sha256 {}, got ", sha256())),
        ("more", Manner::AnnounceMore, "broke off after 200000 of 200010 bytes"),
        ("huge", Manner::AnnounceHuge, "expected at most 1048576 bytes, the server announces 1099511627776"),
        ("endless", Manner::Endless, "expected at most 1048576 bytes, more came"),
        ("other", Manner::OtherBytes, "got 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 (5 bytes)"),
        ("missing", Manner::NotFound, "expected status 200, got 404"),
        ("silent", Manner::Silent, "no data for 500ms"),
        ("stalled", Manner::SilentHalfWay, "broke off after 100000 of 200000 bytes: no data for 500ms"),
        ("garbage", Manner::Garbage, "http"),
        ("redirect", Manner::Redirect, "it redirects to https"),
    ];
    for (name, manner, expected) in cases {
        let (folder, server) = (scratch(name, true), server(manner));
        let start = Instant::now();
        let error = folder.fetch(&[&server]).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("data {FILE}: {}/{FILE}: ", server.url)), "{name}: {text}");
        assert!(text.contains(expected), "{name}: {text}");
        let by_hand = format!("save a copy with sha256 {} as {}", sha256(), folder.0.path.join(FILE).display());
        assert!(text.ends_with(&by_hand), "{name}: {text}");
        assert_eq!(folder.files().len(), 0, "{name} left {:?}", folder.files());
        assert!(start.elapsed() < Duration::from_secs(4), "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn the_next_mirror_is_asked_when_one_fails() {
    let closed = Server { url: "http://127.0.0.1:1".into(), requests: Arc::default() };
    let (bad, cut, good) = (server(Manner::OtherBytes), server(Manner::CutOff), server(Manner::Well));
    let folder = scratch("mirrors", true);
    folder.fetch(&[&closed, &bad, &cut, &good]).unwrap();
    assert!(folder.holds_the_file_alone());
    let folder = scratch("mirrors-all-bad", true);
    let text = folder.fetch(&[&closed, &bad, &cut]).unwrap_err().to_string();
    for server in [&closed, &bad, &cut] {
        assert!(text.contains(&format!("{}/{FILE}: ", server.url)), "{text}");
    }
}

#[test]
fn a_wrong_file_is_replaced_in_our_cache_and_never_in_a_folder_of_the_user() {
    for ours in [true, false] {
        let (folder, server) = (scratch(if ours { "ours" } else { "theirs" }, ours), server(Manner::Well));
        fs::create_dir_all(&folder.0.path).unwrap();
        fs::write(folder.0.path.join(FILE), "hello").unwrap();
        let result = folder.fetch(&[&server]);
        assert_eq!(server.requests.load(Ordering::SeqCst), usize::from(ours));
        if ours {
            result.unwrap();
            assert!(folder.holds_the_file_alone());
        } else {
            let text = result.unwrap_err().to_string();
            let got = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
            let path = folder.0.path.join(FILE);
            let expected =
                format!("{} is not the published file: expected sha256 {}, got {got}; delete it", path.display(), sha256());
            assert!(text.contains(&expected), "{text}");
            assert_eq!(fs::read(path).unwrap(), b"hello");
        }
    }
}

#[test]
fn a_failed_replacement_leaves_the_file_as_it_was() {
    let (folder, server) = (scratch("kept", true), server(Manner::CutOff));
    fs::create_dir_all(&folder.0.path).unwrap();
    fs::write(folder.0.path.join(FILE), "hello").unwrap();
    folder.fetch(&[&server]).unwrap_err();
    assert_eq!(fs::read(folder.0.path.join(FILE)).unwrap(), b"hello");
    assert_eq!(folder.files().len(), 1);
}

#[test]
fn several_downloads_at_once_all_succeed() {
    let (folder, server) = (scratch("together", true), server(Manner::Slowly));
    thread::scope(|scope| {
        let downloads: Vec<_> = (0..4).map(|_| scope.spawn(|| folder.fetch(&[&server]).unwrap())).collect();
        downloads.into_iter().for_each(|download| assert!(download.join().unwrap().exists()));
    });
    assert!(folder.holds_the_file_alone());
}

#[test]
fn what_a_killed_download_left_is_removed_and_a_living_one_is_not() {
    let (folder, server) = (scratch("killed", true), server(Manner::Well));
    fs::create_dir_all(&folder.0.path).unwrap();
    let old = |name: &str| {
        let file = File::create(folder.0.path.join(name)).unwrap();
        file.set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
    };
    old("thing.gz.123-0.part");
    old("other.gz.123-0.part");
    old("thing.gz.notes");
    File::create(folder.0.path.join("thing.gz.456-0.part")).unwrap();
    folder.fetch(&[&server]).unwrap();
    let left = ["other.gz.123-0.part", "thing.gz", "thing.gz.456-0.part", "thing.gz.notes"];
    assert_eq!(folder.files().into_iter().collect::<Vec<_>>(), left);
}

#[test]
fn progress_is_told_seldom_and_ends_at_the_end() {
    let (folder, server) = (scratch("progress", true), server(Manner::Slowly));
    let mut told = Vec::new();
    let mut note = |done, total| told.push((done, total));
    fetch_on(&terms(), &[&server.url], &sha256(), &folder.0, FILE, &mut note).unwrap();
    assert_eq!((told[0], told[told.len() - 1]), ((0, Some(200_000)), (200_000, Some(200_000))));
    assert!(told.is_sorted() && (3..=6).contains(&told.len()), "0.8 seconds at 4 a second: {told:?}");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_io_error_with_its_path() {
    let folder = scratch("blocked", true);
    fs::write(&folder.0.path, "a file where the folder should be").unwrap();
    let below = Folder { path: folder.0.path.join("below"), ours: true };
    let error = fetch_on(&terms(), &[], &sha256(), &below, FILE, &mut |_, _| ()).unwrap_err();
    fs::remove_file(&folder.0.path).unwrap();
    assert!(matches!(&error, Error::Io { path, .. } if path.contains("below")), "{error}");
}

#[test]
fn the_folder_follows_the_environment() {
    let choose = |data: Option<&str>, cache: Option<&str>, home: Option<&str>| {
        let folder = Folder::choose("mnist", data.map(Into::into), cache.map(Into::into), home.map(Into::into));
        folder.map(|folder| (folder.path.display().to_string().replace('\\', "/"), folder.ours))
    };
    let root = if cfg!(windows) { "C:" } else { "" };
    let (data, cache, home) = (format!("{root}/d"), format!("{root}/c"), format!("{root}/h"));
    let (data, cache, home) = (Some(data.as_str()), Some(cache.as_str()), Some(home.as_str()));
    assert_eq!(choose(data, cache, home).unwrap(), (format!("{root}/d/mnist"), false));
    assert_eq!(choose(None, cache, home).unwrap(), (format!("{root}/c/ascribe/data/mnist"), true));
    let at_home = (format!("{root}/h/.cache/ascribe/data/mnist"), true);
    assert_eq!(choose(Some(""), None, home).unwrap(), at_home);
    assert_eq!(choose(None, Some("relative"), home).unwrap(), at_home);
    assert!(choose(None, None, None).unwrap_err().to_string().starts_with("option ASCRIBE_DATA: expected a folder"));
}
