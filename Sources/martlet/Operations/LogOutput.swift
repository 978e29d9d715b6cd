package import Logging
import Synchronization

/// Where all log lines go and from which level on: one per process, shared by all loggers, changeable while the server runs.
package final class LogOutput: Sendable {
    private let levelNumber: Atomic<Int>
    private let format: LogFormat
    private let writer: LogWriter
    private let clock: @Sendable () -> Int64

    /// - Parameter clock: milliseconds since 1970.
    package init(level: Logger.Level, format: LogFormat, writer: LogWriter, clock: @escaping @Sendable () -> Int64) {
        levelNumber = Atomic(Self.number(of: level))
        self.format = format
        self.writer = writer
        self.clock = clock
    }

    /// The least important lines that are written.
    package var level: Logger.Level {
        get {
            let number = levelNumber.load(ordering: .relaxed)
            return Logger.Level.allCases.indices.contains(number) ? Logger.Level.allCases[number] : .info
        }
        set { levelNumber.store(Self.number(of: newValue), ordering: .relaxed) }
    }

    package func logger(_ label: String) -> Logger { Logger(label: label) { LogLineHandler(label: $0, output: self) } }

    /// Opens a log file anew, as after it was moved away.
    package func reopen() { writer.reopen() }

    /// Returns when everything is written, or cannot be.
    package func flush() { writer.flush() }

    fileprivate func write(_ label: String, _ event: LogEvent, _ metadata: Logger.Metadata) {
        let line = LogLine(
            time: clock(), level: event.level, label: label, message: event.message.description, error: event.error.map { "\($0)" },
            metadata: metadata)
        writer.write(format == .text ? line.text : line.json)
    }

    private static func number(of level: Logger.Level) -> Int { Logger.Level.allCases.firstIndex(of: level) ?? 0 }
}

/// What swift-log calls. Nothing is formatted here: that happens only for lines that are written.
private struct LogLineHandler: LogHandler {
    let label: String
    let output: LogOutput
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    /// Set on a single logger by code that wants another level than the operator.
    private var ownLevel: Logger.Level?

    init(label: String, output: LogOutput) {
        self.label = label
        self.output = output
    }

    var logLevel: Logger.Level {
        get { ownLevel ?? output.level }
        set { ownLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
        if let own = event.metadata { all.merge(own) { _, new in new } }
        output.write(label, event, all)
    }
}
