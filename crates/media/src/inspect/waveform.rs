//! How loud a recording is from its beginning to its end.

use opus_decoder::OpusDecoder;

/// Loudness while it comes, in never more memory: when there are too many values, two become one.
pub struct Loudness {
    /// Greatest amplitude of each span, 0–1.
    peaks: Vec<f32>,
    /// Samples in a span.
    span: usize,
    in_span: usize,
    peak: f32,
}

/// Values of a waveform: as many as are drawn.
const WAVEFORM_MAX: usize = 64;
/// Spans before they are joined: some for each value of the result.
const SPANS: usize = WAVEFORM_MAX * 16;

impl Loudness {
    pub fn new() -> Self {
        Self { peaks: Vec::with_capacity(SPANS), span: 240, in_span: 0, peak: 0.0 }
    }

    pub fn add(&mut self, amplitude: f32) {
        if amplitude.is_finite() {
            self.peak = self.peak.max(amplitude.abs());
        }
        self.in_span += 1;
        if self.in_span < self.span {
            return;
        }
        self.peaks.push(self.peak);
        (self.in_span, self.peak) = (0, 0.0);
        if self.peaks.len() == SPANS {
            self.peaks = self.peaks.chunks(2).map(|pair| pair.iter().copied().fold(0.0, f32::max)).collect();
            self.span *= 2;
        }
    }

    /// At most 64 values of 0–100, of which 100 is as loud as it gets; nothing of nothing.
    pub fn waveform(mut self) -> Vec<u8> {
        if self.in_span > 0 {
            self.peaks.push(self.peak);
        }
        let count = self.peaks.len().min(WAVEFORM_MAX);
        let loudest = self.peaks.iter().copied().fold(0.0, f32::max).max(f32::MIN_POSITIVE);
        let values = (0..count).map(|at| {
            let (from, to) = (at * self.peaks.len() / count, (at + 1) * self.peaks.len() / count);
            let peak = self.peaks[from..to].iter().copied().fold(0.0, f32::max);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0–100")]
            let value = (peak / loudest * 100.0).round() as u8;
            value
        });
        values.collect()
    }
}

/// The loudness of packets of Opus.
pub struct Opus {
    decoder: OpusDecoder,
    samples: Vec<i16>,
    loudness: Loudness,
}

/// Enough to see how loud it is, and for an eighth of the work: all of Opus can be decoded at any of its rates.
const OPUS_RATE: u32 = 8_000;
const OPUS_CHANNELS: usize = 1;

impl Opus {
    pub fn new() -> Option<Self> {
        let decoder = OpusDecoder::new(OPUS_RATE, OPUS_CHANNELS).ok()?;
        let samples = vec![0; decoder.max_frame_size_per_channel() * OPUS_CHANNELS];
        Some(Self { decoder, samples, loudness: Loudness::new() })
    }

    /// A packet that cannot be decoded says nothing.
    pub fn packet(&mut self, packet: &[u8]) {
        // An empty one would ask for sound to be made up.
        if packet.is_empty() {
            return;
        }
        if let Ok(count) = self.decoder.decode(packet, &mut self.samples, false) {
            for sample in self.samples.iter().take(count) {
                self.loudness.add(f32::from(*sample) / f32::from(i16::MAX));
            }
        }
    }

    pub fn waveform(self) -> Vec<u8> {
        self.loudness.waveform()
    }
}
