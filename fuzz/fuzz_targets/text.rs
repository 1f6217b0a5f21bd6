#![no_main]

use ascribe::dataset::{Blocks, Vocabulary};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for vocabulary in [Vocabulary::characters(&text), Vocabulary::words(&text)] {
        let tokens = vocabulary.encode(&text).expect("its own symbols");
        assert!(tokens.iter().all(|&token| (token as usize) < vocabulary.symbols().len()));
        ascribe_fuzz::one_line(vocabulary.dataset(&text, &Blocks { length: 3, stride: Some(2), shifted: true }));
    }
    assert_eq!(Vocabulary::characters(&text).decode(&Vocabulary::characters(&text).encode(&text).expect("its own symbols")), text);
});
