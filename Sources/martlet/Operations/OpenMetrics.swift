package import CoreMetrics
import NIOConcurrencyHelpers

/// Keeps what swift-metrics records and writes it in the OpenMetrics text format 1.0.
///
/// A label of swift-metrics is a metric family; its dimensions are the labels of one sample. Timers are histograms in seconds with
/// fixed buckets; recorders that aggregate are histograms too, others gauges.
package final class OpenMetricsRegistry: MetricsFactory {
    /// Samples that are kept. Past it, new ones are recorded nowhere: labels come from the code, so a larger number is a mistake of ours.
    package static let samplesMax = 10_000
    /// Upper ends of the buckets of times, in seconds.
    package static let timeBuckets: [Double] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    /// Upper ends of the buckets of other amounts.
    package static let amountBuckets: [Double] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576]

    private struct Contents {
        var families: [String: Family] = [:]
        var samples = 0
        var probes: [@Sendable (OpenMetricsRegistry) -> Void] = []
    }

    // Taken when a metric is made and when somebody reads; counting takes the sample's own lock.
    private let contents = NIOLockedValueBox(Contents())

    package init() {}

    /// Says what a metric means; a family that was described is written even while it has no samples.
    package func describe(_ name: String, _ kind: MetricKind, _ help: String) {
        contents.withLockedValue { $0.families[MetricName.sanitized(name), default: Family(kind: kind)].help = help }
    }

    /// Calls `probe` before every reading, to set what is not counted as it happens.
    package func addProbe(_ probe: @escaping @Sendable (OpenMetricsRegistry) -> Void) {
        contents.withLockedValue { $0.probes.append(probe) }
    }

    /// Everything, ended by `# EOF`.
    package func text() -> String {
        for probe in contents.withLockedValue({ $0.probes }) { probe(self) }
        let families = contents.withLockedValue { $0.families }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) { family.write(name, to: &text) }
        return text + "# EOF\n"
    }

    private func sample(_ label: String, _ dimensions: [(String, String)], _ kind: MetricKind, buckets: [Double] = []) -> MetricSample {
        let labels = MetricName.labels(dimensions)
        return contents.withLockedValue { contents in
            let name = MetricName.sanitized(label)
            if let known = contents.families[name]?.samples[labels] { return known }
            let sample = MetricSample(buckets: buckets)
            guard contents.samples < Self.samplesMax, contents.families[name, default: Family(kind: kind)].kind == kind else { return sample }
            contents.families[name, default: Family(kind: kind)].samples[labels] = sample
            contents.samples += 1
            return sample
        }
    }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { sample(label, dimensions, .counter) }
    package func makeFloatingPointCounter(label: String, dimensions: [(String, String)]) -> any FloatingPointCounterHandler {
        sample(label, dimensions, .counter)
    }
    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler { sample(label, dimensions, .gauge) }
    package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        aggregate ? sample(label, dimensions, .histogram, buckets: Self.amountBuckets) : sample(label, dimensions, .gauge)
    }
    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        sample(label, dimensions, .histogram, buckets: Self.timeBuckets)
    }

    // What was counted stays: a counter that vanishes and comes back looks like a restart.
    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    package func destroyMeter(_ handler: any MeterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}
}

package enum MetricKind: String, Hashable, Sendable { case counter, gauge, histogram }

/// All samples of one name.
private struct Family: Sendable {
    let kind: MetricKind
    var help = ""
    var samples: [String: MetricSample] = [:]

    func write(_ name: String, to text: inout String) {
        text += "# TYPE \(name) \(kind.rawValue)\n"
        if !help.isEmpty { text += "# HELP \(name) \(MetricName.escaped(help))\n" }
        for (labels, sample) in samples.sorted(by: { $0.key < $1.key }) {
            switch kind {
            case .counter: text += "\(name)_total\(MetricName.braced(labels)) \(MetricName.number(sample.read().value))\n"
            case .gauge: text += "\(name)\(MetricName.braced(labels)) \(MetricName.number(sample.read().value))\n"
            case .histogram: write(name, labels, sample, to: &text)
            }
        }
    }

    private func write(_ name: String, _ labels: String, _ sample: MetricSample, to text: inout String) {
        let reading = sample.read()
        var count = 0
        for (bound, more) in zip(sample.buckets.map(MetricName.number) + ["+Inf"], reading.buckets) {
            count += more
            let all = [labels, "le=\"\(bound)\""].filter { !$0.isEmpty }.joined(separator: ",")
            text += "\(name)_bucket{\(all)} \(count)\n"
        }
        text += "\(name)_count\(MetricName.braced(labels)) \(count)\n\(name)_sum\(MetricName.braced(labels)) \(MetricName.number(reading.value))\n"
    }
}

/// One number, or one histogram.
final class MetricSample: CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler, TimerHandler {
    struct Reading {
        /// Of a histogram, the sum.
        var value = 0.0
        var buckets: [Int]
    }

    let buckets: [Double]
    // Any thread counts; held for an addition.
    private let reading: NIOLockedValueBox<Reading>

    init(buckets: [Double]) {
        self.buckets = buckets
        reading = NIOLockedValueBox(Reading(buckets: Array(repeating: 0, count: buckets.isEmpty ? 0 : buckets.count + 1)))
    }

    func read() -> Reading { reading.withLockedValue { $0 } }

    func increment(by amount: Int64) { increment(by: Double(amount)) }
    func increment(by amount: Double) { reading.withLockedValue { $0.value += amount } }
    func decrement(by amount: Double) { increment(by: -amount) }
    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { reading.withLockedValue { $0.value = value } }
    func reset() { set(0.0) }
    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        guard !buckets.isEmpty else { return set(value) }
        let index = buckets.firstIndex { value <= $0 } ?? buckets.count
        reading.withLockedValue {
            $0.value += value
            $0.buckets[index] += 1
        }
    }
}

/// How OpenMetrics writes names, labels and numbers.
enum MetricName {
    static func sanitized(_ name: String) -> String {
        let allowed = name.unicodeScalars.map { isAllowed($0) ? Character($0) : "_" }
        let text = String(allowed)
        return text.first.map { $0.isNumber ? "_" + text : text } ?? "_"
    }

    private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_", ":": true
        default: false
        }
    }

    static func labels(_ dimensions: [(String, String)]) -> String {
        dimensions.sorted { $0.0 < $1.0 }.map { "\(sanitized($0.0))=\"\(escaped($0.1))\"" }.joined(separator: ",")
    }

    static func braced(_ labels: String) -> String { labels.isEmpty ? "" : "{\(labels)}" }

    static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }

    /// Whole numbers without a point.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return Int64(exactly: value).map(String.init) ?? String(value)
    }
}
