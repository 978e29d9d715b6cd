import CoreMetrics
import Testing

import martlet

@Suite("Metrics in the OpenMetrics text format")
struct OpenMetricsTests {
    private let registry = OpenMetricsRegistry()

    @Test("an empty registry is only the end")
    func empty() { #expect(registry.text() == "# EOF\n") }

    @Test("a counter has the suffix _total, its labels in order and escaped")
    func counter() {
        registry.describe("logins", .counter, "Attempts.")
        Counter(label: "logins", dimensions: [("verdict", "o\"k\n"), ("a", "1")], factory: registry).increment(by: 3)
        #expect(registry.text() == "# TYPE logins counter\n# HELP logins Attempts.\nlogins_total{a=\"1\",verdict=\"o\\\"k\\n\"} 3\n# EOF\n")
    }

    @Test("a gauge goes up and down")
    func gauge() {
        let meter = Meter(label: "sessions", factory: registry)
        meter.increment(by: 5.0)
        meter.decrement(by: 2.0)
        #expect(registry.text().contains("\nsessions 3\n"))
    }

    @Test("a timer is a histogram in seconds with cumulative buckets")
    func timer() {
        let timer = CoreMetrics.Timer(label: "commit-time", factory: registry)
        timer.recordNanoseconds(400_000)
        timer.recordNanoseconds(600_000)
        timer.recordNanoseconds(60_000_000_000)
        let lines = registry.text().split(separator: "\n").map(String.init)
        #expect(lines.first == "# TYPE commit_time histogram")
        #expect(lines.contains("commit_time_bucket{le=\"0.0005\"} 1"))
        #expect(lines.contains("commit_time_bucket{le=\"0.001\"} 2"))
        #expect(lines.contains("commit_time_bucket{le=\"10\"} 2"))
        #expect(lines.contains("commit_time_bucket{le=\"+Inf\"} 3"))
        #expect(lines.contains("commit_time_count 3"))
        #expect(lines.contains("commit_time_sum 60.001"))
    }

    @Test("one label with the same dimensions is one sample, whoever makes it")
    func shared() {
        for _ in 0..<3 { Counter(label: "c", dimensions: [("x", "y")], factory: registry).increment() }
        #expect(registry.text().contains("c_total{x=\"y\"} 3\n"))
    }

    @Test("a probe is asked before every reading")
    func probe() {
        registry.addProbe { $0.makeMeter(label: "probed", dimensions: []).increment(by: 1) }
        _ = registry.text()
        #expect(registry.text().contains("probed 2\n"))
    }

    @Test("past the bound on samples, new ones are not kept")
    func bound() {
        for number in 0...OpenMetricsRegistry.samplesMax { Counter(label: "c", dimensions: [("n", "\(number)")], factory: registry).increment() }
        #expect(registry.text().split(separator: "\n").count { $0.hasPrefix("c_total") } == OpenMetricsRegistry.samplesMax)
    }
}
