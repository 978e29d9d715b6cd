import Testing

import martlet

@Suite("What is told of rooms")
struct RoomLineTests {
    @Test("a room says in the list what it is and how many are in it")
    func room() {
        let lines = [("", true, false, 0), ("The \u{1B}garden", false, true, 2)].map { name, isPersistent, isPublic, occupants in
            RoomLine(address: "a@b", name: name, isPersistent: isPersistent, isPublic: isPublic, created: 0, occupants: occupants).text
        }
        #expect(lines == ["a@b  (persistent, hidden, 0 inside)", "a@b  (temporary, public, 2 inside)  The \u{FFFD}garden"])
    }

    @Test("an affiliation is a line")
    func affiliation() {
        #expect(AffiliationLine(jid: "a@b", affiliation: "member").text == "member  a@b")
        #expect(AffiliationLine(jid: "a@b", affiliation: "outcast", nickname: "x", reason: "y\nz").text == "outcast  a@b  nickname x  reason: y\u{FFFD}z")
    }

    @Test("a message is one line, which cannot steer the terminal")
    func utterance() {
        let body = UtteranceLine(id: "1", time: 0, nickname: "julie", body: "soft\nwhat \u{1B}[2Jlight").text
        #expect(body == "1970-01-01T00:00:00.000Z  julie: soft what \u{FFFD}[2Jlight")
        #expect(UtteranceLine(id: "1", time: 0, nickname: "julie", subject: "light").text.hasSuffix("julie: the subject is now: light"))
        #expect(UtteranceLine(id: "1", time: 0, nickname: "julie").text.hasSuffix("julie: (no text)"))
    }
}
