import Testing

import martlet

@Suite("What is told of reports and block lists")
struct ReportLineTests {
    private var report: ReportLine {
        var line = ReportLine(id: 7, time: 0, reporter: "juliet@a.example", reported: "tybalt@b.example", reason: "urn:xmpp:reporting:spam")
        line.texts = [.init(language: "en", text: "Never\ncame \u{1B}[2Jtrouble"), .init(language: nil, text: "Nie.")]
        line.messages = [.init(id: "1-\u{1B}", archive: "juliet@a.example")]
        line.mayGoToOrigin = true
        return line
    }

    @Test("a report is one line, which cannot steer the terminal")
    func line() {
        #expect(report.text == "7  1970-01-01T00:00:00.000Z  spam  tybalt@b.example  by juliet@a.example  Never\u{FFFD}came \u{FFFD}[2Jtrouble")
        #expect(ReportLine(id: 1, time: 0, reporter: "a@b", reported: "c", reason: "x:\u{1B}").text == "1  1970-01-01T00:00:00.000Z  x:\u{FFFD}  c  by a@b")
    }

    @Test("what is shown of a report is all that is in it")
    func lines() {
        #expect(report.lines.split(separator: "\n").map(String.init) == [
            "number    7", "came      1970-01-01T00:00:00.000Z", "about     tybalt@b.example", "by        juliet@a.example", "reason    spam",
            "says      Never\u{FFFD}came \u{FFFD}[2Jtrouble (en)", "says      Nie.", "message   1-\u{FFFD} in the archive of juliet@a.example",
            "wants     the other server to be told",
        ])
    }

    @Test("a block list says whether it is followed, how many are on it, and what is wrong")
    func blockList() {
        let followed = BlockListLine(service: "a.example", node: "bans", state: "following", entries: 1, fetched: 0)
        #expect(followed.text == "a.example  bans  following  1 entry  fetched 1970-01-01T00:00:00.000Z")
        let away = BlockListLine(service: "a.example", node: "ba\u{1B}ns", state: "waiting", entries: 0, fetched: nil, trouble: "no answer")
        #expect(away.text == "a.example  ba\u{FFFD}ns  waiting  0 entries  never fetched  no answer")
    }
}
