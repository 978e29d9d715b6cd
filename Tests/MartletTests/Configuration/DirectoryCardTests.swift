import MartletDirectory
import Testing

import martlet

@Suite("what a directory says of cards and passwords")
struct DirectoryCardTests {
    private func text(_ more: String, address: String = "xmppAddress") -> String {
        minimal + """
            directories:
              - domain: example.org
                servers: ["ldaps://ldap.example.org"]
                people: {base: "ou=people,dc=example,dc=org", address: [\(address)]}
            \(more)

            """
    }

    private func settings(_ more: String) throws -> ServerConfiguration.Directory { try #require(try load(text(more)).configuration.directories.first) }

    @Test("the directory comes first, unless it says otherwise, and nothing is written to it")
    func defaults() throws {
        let directory = try settings("")
        #expect(directory.vCard.settings.sources.values.allSatisfy { $0 == .directoryFirst } && directory.vCard.settings.sources.count == 11)
        #expect(directory.vCard.settings.writable == [] && directory.vCard.settings.hasPhotos && directory.passwordChange.way == nil)
    }

    @Test("each part has its source, and people change what is named")
    func sources() throws {
        let directory = try settings("    vcard: {photo: user, telephone: user-first, title: directory, writable: [mobile, jpegPhoto]}\n    password-change: proxied")
        let settings = directory.vCard.settings
        #expect(settings.sources[.photo] == .user && settings.sources[.telephone] == .userFirst && settings.sources[.title] == .directory)
        #expect(settings.writable == [.mobile, .jpegPhoto] && !settings.hasPhotos && directory.passwordChange.way == .proxied)
    }

    @Test("what may be written is known by both names")
    func names() {
        #expect(ServerConfiguration.Directory.Writable.allCases.map(\.rawValue) == ProfileAttribute.allCases.map(\.rawValue))
    }

    @Test("nobody chooses his address, nor anything that is not named", arguments: [("pager", "pager"), ("pager@%d", "pager")])
    func addresses(address: String, attribute: String) {
        let found = problems(text("    vcard: {writable: [\(attribute), mobile]}", address: address))
        #expect(found.contains { $0.path == "directories[0].vcard.writable" && $0.message.contains(attribute) }, "\(found)")
        #expect(!problems(text("    vcard: {writable: [mail]}")).isEmpty)
        #expect(problems(text("    vcard: {writable: [\(attribute), mobile]}")).isEmpty)
    }
}
