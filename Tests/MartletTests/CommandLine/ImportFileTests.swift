import MartletXMPP
import Testing

import martlet

@Suite("Files of accounts")
struct ImportFileTests {
    private func read(_ text: String, existing: Set<String> = [], skipsExisting: Bool = false) -> ImportFile {
        ImportFile(Array(text.utf8), domains: ["capulet.example"], existing: existing, skipsExisting: skipsExisting)
    }

    private let sha256 = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

    @Test("a line is an address, a tab and a password; empty lines and line ends of Windows are fine")
    func passwords() {
        let file = read("juliet@capulet.example\tr0m30\r\n\nNurse@Capulet.example\tpass word\n")
        #expect(file.problems.isEmpty)
        #expect(file.lines.map(\.address.description) == ["juliet@capulet.example", "nurse@capulet.example"])
        #expect(file.lines.map(\.number) == [1, 3])
        #expect(file.lines.map(\.secret) == ["r0m30", "pass word"].compactMap(PreparedPassword.init).map(ImportLine.Secret.password))
    }

    @Test("ready-made SCRAM keys are taken as they are")
    func keys() throws {
        let file = read("juliet@capulet.example\t\(sha256)\n")
        #expect(file.lines.map(\.secret) == [.keys([try ScramKeys(parsing: sha256)])])
    }

    @Test("mistakes are reported with their lines", arguments: [
        ("juliet@capulet.example", 1, "a tab"),
        ("\n\nnobody\tx", 3, "not an address"),
        ("romeo@montague.example\tx", 1, "does not host"),
        ("a@capulet.example\tx\nA@capulet.example\ty", 2, "line 1 already"),
        ("a@capulet.example\tx\ty", 1, "tab"),
        ("a@capulet.example\t", 1, "password"),
        ("a@capulet.example\tSCRAM-SHA-256$1:AAAA$AA==:AA==", 1, "iterations"),
        ("a@capulet.example\tSCRAM-MD5$4096:AAAA$AA==:AA==", 1, "SCRAM-MD5"),
        ("a@capulet.example\tSCRAM-SHA-1$4096$AA==", 1, "keys are written"),
    ])
    func mistakes(_ text: String, _ line: Int, _ message: String) {
        let problems = read(text).problems
        #expect(problems.count == 1)
        #expect(problems.first?.line == line)
        #expect(problems.first?.message.contains(message) == true, "\(problems)")
    }

    @Test("an account that exists is a mistake, or passed over where that is asked for")
    func existing() {
        #expect(read("a@capulet.example\tx", existing: ["a@capulet.example"]).problems.count == 1)
        let skipping = read("a@capulet.example\tx\nb@capulet.example\ty", existing: ["a@capulet.example"], skipsExisting: true)
        #expect(skipping.problems.isEmpty)
        #expect(skipping.lines.map(\.address.description) == ["b@capulet.example"])
    }

    @Test("reading ends after so many mistakes")
    func many() {
        #expect(read(String(repeating: "x\n", count: 1_000)).problems.count == ImportFile.problemsMax)
    }

    @Test("any bytes are accounts or problems")
    func bytes() {
        #expect(ImportFile([0xFF, 0x09, 0x41], domains: [], existing: []).problems.map(\.message) == ["not UTF-8"])
    }
}
