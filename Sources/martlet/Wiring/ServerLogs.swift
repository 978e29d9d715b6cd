import Logging
import MartletCore

/// The loggers of a process, and what is counted beside them.
struct ServerLogs: Sendable {
    let output: LogOutput
    let writer: LogWriter
    let registry: OpenMetricsRegistry
    let metrics: ServerMetrics
    let server: Logger
    let audit: AuditLog

    init(_ configuration: ServerConfiguration.Log, _ time: SystemClock) throws(CommandFailure) {
        let path: String? =
            switch configuration.destination {
            case .standardError: nil
            case .file(let path): path
            }
        writer = try LogWriter(path: path)
        output = LogOutput(level: Logger.Level(configuration.level), format: configuration.format, writer: writer) { time.wallMilliseconds }
        registry = OpenMetricsRegistry()
        ServerMetrics.describe(in: registry)
        ProcessFigures.addProbes(to: registry, startSeconds: time.wallSeconds)
        metrics = ServerMetrics(registry)
        server = output.logger("martlet")
        audit = AuditLog(output.logger("audit"), metrics: metrics)
    }

    /// For commands, which say what there is to say themselves.
    static func quiet(_ time: SystemClock) throws(CommandFailure) -> ServerLogs {
        var configuration = ServerConfiguration.Log()
        configuration.level = .warning
        return try ServerLogs(configuration, time)
    }
}

extension Logger.Level {
    init(_ level: LogLevel) {
        self =
            switch level {
            case .trace: .trace
            case .debug: .debug
            case .info: .info
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            case .critical: .critical
            }
    }
}
