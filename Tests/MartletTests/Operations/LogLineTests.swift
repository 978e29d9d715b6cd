import Logging
import Testing

import martlet

@Suite("Lines of the log")
struct LogLineTests {
    private func line(_ message: String, _ metadata: Logger.Metadata = [:], error: String? = nil) -> LogLine {
        LogLine(time: 1_795_405_495_123, level: .info, label: "martlet", message: message, error: error, metadata: metadata)
    }

    @Test("a line begins with the time in UTC, the level and the label")
    func plain() {
        #expect(line("session started").text == "2026-11-23T03:44:55.123Z info martlet: session started\n")
    }

    @Test("metadata follow in the order of their keys, quoted where they would be ambiguous")
    func metadata() {
        let text = line("refused", ["why": "lacks a privilege", "actor": "juliet@capulet.example", "empty": "", "sign": "a=b"]).text
        #expect(text.hasSuffix("refused actor=juliet@capulet.example empty=\"\" sign=\"a=b\" why=\"lacks a privilege\"\n"))
    }

    @Test("nothing from the network starts a new line or steers a terminal", arguments: [
        ("a\nb", "\"a<U+A>b\""), ("\u{1B}[2J", "\"<U+1B>[2J\""), ("\u{85}", "<U+85>"), ("\u{2028}", "<U+2028>"), ("\u{202E}abc", "<U+202E>abc"), ("\u{7F}", "<U+7F>"),
    ])
    func control(_ given: String, _ shown: String) {
        #expect(line("x", ["v": "\(given)"]).text.hasSuffix(" v=\(shown)\n"))
        #expect(!line(given).text.dropLast().unicodeScalars.contains { $0.properties.generalCategory == .control })
    }

    @Test("a quotation cannot be ended from inside")
    func quotation() {
        #expect(line("x", ["v": "a\" b=\"c"]).text.hasSuffix(" v=\"a\\\" b=\\\"c\"\n"))
    }

    @Test("as JSON a line is one object, and metadata cannot hide its own keys")
    func json() {
        let text = line("he said \"no\"\n", ["level": "fake", "b": "\u{1B}"]).json
        #expect(
            text
                == "{\"time\":\"2026-11-23T03:44:55.123Z\",\"level\":\"info\",\"label\":\"martlet\","
                + "\"message\":\"he said \\\"no\\\"\\u000a\",\"b\":\"\\u001b\",\"_level\":\"fake\"}\n")
    }

    @Test("a value that is too long is cut off")
    func long() {
        let text = line("x", ["v": "\(String(repeating: "a", count: LogLine.valueScalarsMax + 10))"]).text
        #expect(text.utf8.count < LogLine.valueScalarsMax + 100)
        #expect(text.contains("…"))
    }

    @Test("moments before 1970 and leap days are written right")
    func timestamps() {
        #expect(Timestamp.text(0) == "1970-01-01T00:00:00.000Z")
        #expect(Timestamp.text(-1) == "1969-12-31T23:59:59.999Z")
        #expect(Timestamp.text(1_709_164_800_000) == "2024-02-29T00:00:00.000Z")
    }

    @Test("what is below the level is not even formatted, and the level changes for loggers that exist")
    func level() throws {
        let output = LogOutput(level: .notice, format: .text, writer: try LogWriter(path: "/dev/null"), clock: { 0 })
        let logger = output.logger("test")
        var formatted = 0
        func value() -> Logger.MetadataValue {
            formatted += 1
            return "value"
        }
        logger.info("not written", metadata: ["v": value()])
        #expect(formatted == 0)
        output.level = .debug
        logger.debug("written", metadata: ["v": value()])
        #expect(formatted == 1)
        #expect(logger.logLevel == .debug)
    }
}
