import Foundation
import MartletLDAP
import NIOCore
import Testing

import martlet

@Suite("states of the directory's configuration are kept")
struct KeptTreesTests {
    private func tree(version: Int?, _ level: String = "info") throws -> ConfigurationTree {
        var attributes = [LDAPAttribute("objectClass", "martletServer"), LDAPAttribute("cn", "martlet"), LDAPAttribute("martletSetting", "log.level=\(level)")]
        if let version { attributes.append(LDAPAttribute("martletConfigVersion", "\(version)")) }
        return ConfigurationTree([LDAPEntry("cn=martlet,dc=example", attributes)], base: try DistinguishedName("cn=martlet,dc=example"))
    }

    private func section(_ base: String = "cn=martlet,dc=example") -> ServerConfiguration.ConfigurationDirectory {
        var section = ServerConfiguration.ConfigurationDirectory()
        (section.servers, section.base) = (["ldapi://%2Fldapi"], base)
        return section
    }

    @Test("the last one is found again, if it is of the same tree, and those before it are there")
    func latest() throws {
        let folder = NSTemporaryDirectory() + "martlet-kept-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let kept = KeptTrees(dataFolder: folder)
        #expect(try kept.latest(section()) == nil)
        for tree in [try tree(version: 1), try tree(version: 2), try tree(version: 2), try tree(version: 2, "debug"), try tree(version: nil)] { try kept.keep(tree) }
        #expect(try kept.latest(section()) == tree(version: nil))
        #expect(try kept.latest(section("cn=other,dc=example")) == nil)
        let files = try FileManager.default.contentsOfDirectory(atPath: kept.folder)
        #expect(Set(files) == ["0.ldif", "1.ldif", "2.ldif", "2.2.ldif", "current.ldif"])
    }

    @Test("as many are kept as may be, the newest ones")
    func bound() throws {
        let files = (1...KeptTrees.countMax + 2).map { KeptTrees.File(name: "\($0).ldif", written: Double($0)) }
        #expect(KeptTrees.surplus(Array(files.prefix(KeptTrees.countMax))) == [])
        #expect(KeptTrees.surplus(files) == ["2.ldif", "1.ldif"])
        #expect(KeptTrees.name(of: 7, among: ["7.ldif", "7.2.ldif"]) == "7.3.ldif")
    }

    @Test("a file that is no LDIF, or says what to change, is none")
    func faults() throws {
        let base = try DistinguishedName("cn=martlet,dc=example")
        for text in ["dn: cn=martlet,dc=example\nno colon\n", "dn: cn=martlet,dc=example\nchangetype: delete\n"] {
            #expect(throws: CommandFailure.self) { try ConfigurationTree(ldif: Array(text.utf8), of: "x.ldif", base: base, node: nil) }
        }
    }
}

@Suite("when a change in the directory counts")
struct ConfigurationGateTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    @Test("two seconds after the last change")
    func quiet() {
        var gate = ConfigurationGate(version: 3)
        #expect(gate.due == nil)
        gate.changed(version: 3, at: start)
        #expect(gate.due == start + .seconds(2))
        gate.changed(version: 3, at: start + .seconds(1))
        #expect(gate.due == start + .seconds(3))
    }

    @Test("at once when the version increases, and not when it does not")
    func finished() {
        var gate = ConfigurationGate(version: 3)
        gate.changed(version: 4, at: start)
        #expect(gate.due == start)
        gate.settle(version: 4)
        #expect(gate.due == nil)
        for version in [4, 2, nil] as [Int64?] {
            gate.changed(version: version, at: start)
            #expect(gate.due == start + .seconds(2))
            gate.settle(version: 4)
        }
    }

    @Test("ten minutes after the first change if there is no end of them")
    func patience() {
        var gate = ConfigurationGate()
        for second in 0...597 { gate.changed(version: nil, at: start + .seconds(Int64(second))) }
        #expect(gate.due == start + .seconds(599))
        for second in 598...599 { gate.changed(version: nil, at: start + .seconds(Int64(second))) }
        #expect(gate.due == start + .minutes(10))
    }
}
