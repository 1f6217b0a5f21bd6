#![no_main]

use ascribe::dataset::Events;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let midi = ascribe::read::bytes::midi(bytes);
    if let Ok(midi) = &midi {
        for events in [Events::Performance, Events::Dattri] {
            let tokens = events.tokens(midi);
            assert!(tokens.as_ref().map_or(&[][..], Vec::as_slice).iter().all(|token| (0..Events::END).contains(token)));
            ascribe_fuzz::one_line(tokens);
        }
    }
    ascribe_fuzz::one_line(midi);
});
