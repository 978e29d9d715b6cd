import Testing

import martlet

@Suite("What martlet config status prints")
struct ConfigurationLineTests {
    private func tree(_ change: (inout ConfigurationReport.Tree) -> Void) -> ConfigurationReport.Tree {
        var tree = ConfigurationReport.Tree(base: "cn=martlet", entries: 2, contact: .live)
        (tree.node, tree.version, tree.server) = ("chat1", 7, "ldaps://one")
        change(&tree)
        return tree
    }

    @Test("a server without a directory says what its file is and what waits for a restart")
    func fileAlone() {
        let report = ConfigurationReport(file: "/a.yaml", tree: nil, needingRestart: ["log.format: text -> json (needs a restart)"])
        #expect(report.isWell)
        #expect(report.text == "file       /a.yaml\nwaits for a restart  log.format: text -> json (needs a restart)")
    }

    @Test("what is in force, from where, and since when")
    func followed() {
        let report = ConfigurationReport(file: "/a.yaml", tree: tree { _ in }, needingRestart: [])
        #expect(report.isWell)
        #expect(
            report.text == """
                file       /a.yaml
                directory  cn=martlet, node chat1: followed at ldaps://one
                in force   version 7, 2 entries, since 1970-01-01T00:00:00.000Z
                """)
    }

    @Test("a directory that says something else, or nothing, is not well")
    func unwell() {
        let refused = ConfigurationReport(file: "/a.yaml", tree: tree { $0.refusal = "a mistake" }, needingRestart: [])
        #expect(!refused.isWell && refused.text.hasSuffix("\nwhy it may not be what the directory says now:\na mistake"))
        let lost = tree { ($0.contact, $0.lostSince, $0.fault, $0.refusal, $0.version, $0.entries) = (.lost, 1_000, "refused", "no answer", nil, 1) }
        let report = ConfigurationReport(file: "/a.yaml", tree: lost, needingRestart: [])
        #expect(!report.isWell && report.text.contains("lost since 1970-01-01T00:00:01.000Z: refused\nin force   version none, 1 entry, since"))
        #expect(report.text.hasSuffix("\nwhy it may not be what the directory says now:\nno answer"))
    }
}
