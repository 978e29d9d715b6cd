import Foundation
import Testing

@Suite("martlet certificate", .enabled(if: MartletBinary.path != nil, MartletBinary.isMissing))
struct CertificateCommandTests {
    private let household: Household

    init() throws {
        household = try Household()
        try household.configure()
    }

    private var own: String { household.data + "/certificates/capulet.example" }

    private func certificate(_ words: String...) throws -> CommandResult {
        try household.run(arguments: ["certificate"] + words + ["--config", household.file])
    }

    private func mode(_ path: String) throws -> Int? { try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int }

    @Test("a request names the domain and its services, and is made again for the same key")
    func request() throws {
        let first = try certificate("request", "capulet.example")
        #expect(first.status == 0, "\(first.errors)")
        let folder = household.data + "/certificates/requests"
        #expect(first.output.contains("request   \(folder)/capulet.example.csr") && first.output.contains("capulet.example.key (made)"))
        #expect(first.output.contains("names     capulet.example, conference.capulet.example, vjud.capulet.example"))
        #expect(try mode("\(folder)/capulet.example.key") == 0o600 && mode(folder) == 0o700)
        let key = try String(contentsOfFile: "\(folder)/capulet.example.key", encoding: .utf8)
        #expect(try String(contentsOfFile: "\(folder)/capulet.example.csr", encoding: .utf8).hasPrefix("-----BEGIN CERTIFICATE REQUEST-----"))
        #expect(try certificate("request", "capulet.example").output.contains("capulet.example.key (found)"))
        #expect(try String(contentsOfFile: "\(folder)/capulet.example.key", encoding: .utf8) == key)
        #expect(try certificate("request", "capulet.example", "--key-type", "rsa").status == 73)
        #expect(try certificate("request", "capulet.example", "--key-type", "p384", "--new-key", "--xmpp-names").status == 0)
        #expect(try String(contentsOfFile: "\(folder)/capulet.example.key", encoding: .utf8) != key)
    }

    @Test("a key that is in use is not replaced, by whatever path the configuration names it")
    func keyInUse() throws {
        _ = (try certificate("self-sign", "capulet.example"), try certificate("request", "capulet.example"))
        let (key, link) = (household.data + "/certificates/requests/capulet.example.key", household.folder + "/link.key")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: key)
        let before = try String(contentsOfFile: key, encoding: .utf8)
        for path in [key, link] {
            try household.configure(certificate: "    certificate: \(own).pem\n    key: \(path)")
            let result = try certificate("request", "capulet.example", "--new-key")
            #expect(result.status == 73 && result.errors.contains("hint: add --out with another folder"), "\(result.errors)")
            #expect(try String(contentsOfFile: key, encoding: .utf8) == before)
            #expect(try certificate("request", "capulet.example").output.contains("(found)"))
        }
        #expect(try certificate("request", "capulet.example", "--new-key", "--out", household.folder + "/new").output.contains("(made)"))
    }

    @Test("what root makes in a folder belongs to whom the folder belongs", .enabled(if: geteuid() == 0))
    func heir() throws {
        try FileManager.default.createDirectory(atPath: household.data, withIntermediateDirectories: true)
        #expect(chown(household.data, 65_534, 65_534) == 0)
        #expect(try certificate("request", "capulet.example").status == 0 && certificate("self-sign", "capulet.example").status == 0)
        let (folder, files) = (household.data + "/certificates", ["", "/requests", "/requests/capulet.example.key", "/requests/capulet.example.csr"])
        for path in files.map({ folder + $0 }) + [own + ".key", own + ".pem"] {
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.ownerAccountID] as? Int == 65_534, "\(path)")
        }
    }

    @Test("a check of the configuration warns of keys that others may read, and says where the key is named that does not match")
    func configurationCheck() throws {
        _ = try certificate("self-sign", "capulet.example")
        try household.configure(certificate: "    certificate: \(own).pem\n    key: \(own).key")
        let good = try household.run("config", "check", "--config", household.file)
        #expect(good.status == 0 && !good.output.contains("others than its owner"), "\(good.output)\(good.errors)")
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: own + ".key")
        let open = try household.run("config", "check", "--config", household.file)
        #expect(open.status == 0 && open.output.contains("warning: \(own).key: others than its owner may use the key (mode 644)"))
        _ = try certificate("request", "capulet.example", "--out", household.folder)
        let other = household.folder + "/capulet.example.key"
        try household.configure(certificate: "    certificate: \(own).pem\n    key: \(other)")
        let result = try household.run("config", "check", "--config", household.file)
        #expect(result.status == 65 && result.errors.contains("domains[0].key: \(other) is not the key of the first certificate"), "\(result.errors)")
        #expect(result.errors.contains("martlet.yaml:") && result.errors.contains("hint: name the key for which the certificate was asked"))
    }

    @Test("only domains of the configuration have certificates, and services have theirs")
    func domains() throws {
        let other = try certificate("request", "montague.example")
        #expect(other.status == 65 && other.errors.contains("montague.example is none of this server's domains"))
        let service = try certificate("self-sign", "conference.capulet.example")
        #expect(service.status == 65 && service.errors.contains("it is a service of capulet.example, whose certificate is for it as well"))
    }

    @Test("one that nobody vouches for is made anew, with another key, which is private")
    func selfSign() throws {
        let first = try certificate("self-sign", "capulet.example", "--days", "36")
        #expect(first.status == 0, "\(first.errors)")
        #expect(try mode(own + ".key") == 0o600)
        let key = try String(contentsOfFile: own + ".key", encoding: .utf8)
        #expect(try certificate("self-sign", "capulet.example").status == 0)
        #expect(try String(contentsOfFile: own + ".key", encoding: .utf8) != key)
        for days in ["35", "826"] { #expect(try certificate("self-sign", "capulet.example", "--days", days).status == 64) }
        try household.configure(certificate: "    certificate: \(own).pem\n    key: \(own).key")
        #expect(try certificate("self-sign", "capulet.example").status == 73)
    }

    @Test("a check says what is wrong and what to do, and its status that something is")
    func check() throws {
        #expect(try certificate("check", "--offline").status == 66)
        _ = try certificate("self-sign", "capulet.example")
        let result = try certificate("check", "--offline")
        #expect(result.status == 65 && result.output.contains("self-signed"))
        #expect(result.output.contains("\(own).key: its key (P256), which nobody but its owner may read"))
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: own + ".key")
        let open = try certificate("check", "capulet.example", "--offline")
        #expect(open.output.contains("!!") && open.output.contains("chmod 600 \(own).key"))
        let file = try certificate("check", own + ".pem", "--key", own + ".pem", "--offline")
        #expect(file.status == 65 && file.output.contains("holds no private key in PEM form"))
        #expect(try certificate("check", household.folder + "/none.pem", "--offline").status == 66)
        #expect(try certificate("check", "capulet.example", "--key", own + ".key").status == 64)
    }

    @Test("a certificate of an authority that is believed is well, for all the names that the server has")
    func good() throws {
        try household.configure(more: "federation: {trust-anchors: \(own).pem}")
        _ = try certificate("self-sign", "capulet.example")
        let result = try certificate("check", "--offline")
        #expect(result.status == 0, "\(result.output)")
        #expect(result.output.contains("\(own).pem: others accept it for capulet.example"))
    }
}
