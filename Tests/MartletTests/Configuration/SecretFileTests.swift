import Testing

import martlet

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif
#if canImport(Glibc)
import Glibc
#endif

@Suite("secrets in files of their own")
struct SecretFileTests {
    /// What names a secret, and where.
    private static let places = [
        ("components: [{name: irc.example.org, secret-file: /secret}]\n", "components[0].secret-file"),
        ("external-services: [{address: 'turn.example.org:3478', type: turn, secret-file: /secret}]\n", "external-services[0].secret-file"),
        (
            "uploads: {store: s3, s3: {endpoint: 'https://s3.example.net', bucket: files, access-key: A, secret-key-file: /secret}}\n",
            "uploads.s3.secret-key-file"
        ),
        (
            """
            oauth: [{issuer: 'https://id.example.org', audience: x, account-claim: sub, introspection: {url: 'https://id.example.org/i', client-id: m, \
            secret-file: /secret}}]\n
            """,
            "oauth[0].introspection.secret-file"
        ),
    ]

    private func result(_ text: String, _ secrets: [String: String], open: Set<String> = []) -> Result<LoadedConfiguration, ConfigurationFailure> {
        let files = ConfigurationFiles.containing(Array((minimal + text).utf8), secrets: secrets, open: open)
        return Result { () throws(ConfigurationFailure) in try ConfigurationLoader(files: files).load(file: file, environment: [:]) }
    }

    private func problems(_ text: String, _ secrets: [String: String]) -> [String] {
        switch result(text, secrets) {
        case .success: []
        case .failure(let failure): failure.problems.map { "\($0.path): \($0.message)" }
        }
    }

    @Test("each is there, and is one, or the configuration is refused", arguments: places)
    func checked(text: String, path: String) {
        #expect(problems(text, ["/secret": "s\n"]) == [])
        #expect(problems(text, [:]) == ["\(path): /secret cannot be read: there is no such file"])
        #expect(problems(text, ["/secret": "\n"]) == ["\(path): /secret is empty"])
        #expect(problems(text, ["/secret": "a\nb\n"]) == ["\(path): /secret has more than one line"])
        let long = String(repeating: "s", count: SecretFile.bytesMax + 1)
        #expect(problems(text, ["/secret": long]) == ["\(path): /secret is too long for a secret: more than 4096 bytes"])
        #expect(problems(text, ["/secret": String(long.dropLast())]) == [])
    }

    @Test("who serves nobody needs no secret: a server whose secret is gone can be asked all the same", arguments: places)
    func unread(text: String, path: String) throws {
        let files = ConfigurationFiles.containing(Array((minimal + text).utf8))
        let loaded = try ConfigurationLoader(files: files).load(file: file, environment: [:], readsOthers: false)
        #expect(loaded.configuration.domains.map(\.name) == ["example.org"])
        #expect(throws: ConfigurationFailure.self) { try ConfigurationLoader(files: files).load(file: file, environment: [:]) }
    }

    @Test("one that everybody on the machine can read is warned about", arguments: places)
    func open(text: String, path: String) throws {
        func warnings(_ open: Set<String>) throws -> [String] {
            try result(text, ["/secret": "s"], open: open).get().warnings.filter { $0.path == path }.map(\.message)
        }
        #expect(try warnings(["/secret"]) == ["whoever is on this machine can read /secret"])
        #expect(try warnings([]) == [])
    }

    @Test("a secret is what stands on the one line", arguments: [
        ("s", "s"), ("s\n", "s"), ("s\r\n", "s"), (" s \n\n", " s "), ("", nil), ("\n", nil), ("\ns", nil), ("s\nt", nil), ("s\n \n", nil),
    ] as [(String, String?)])
    func lines(text: String, secret: String?) {
        let found = try? SecretFile.secret(in: Array(text.utf8))
        #expect(found == secret.map { Array($0.utf8) })
    }

    @Test("who may read a file is what its mode says of others", arguments: [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] as [(mode_t, Bool)])
    func modes(mode: mode_t, isOpen: Bool) throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "martlet-\(UInt64.random(in: 0...UInt64.max))").path()
        try Data("s".utf8).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(chmod(path, mode) == 0)
        #expect(ConfigurationFiles.disk.isOpenToAll(path) == isOpen)
    }
}
