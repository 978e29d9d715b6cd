import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0398 User Avatar to vCard-Based Avatars Conversion")
struct AvatarConversionTests {
    private let server = TestServer()
    private static let picture = Array("a picture".utf8)
    private static let text = Base64.encode(picture)
    private static let digest = ScramHash.sha1.digest(picture).map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()

    private func publish(_ node: String, _ payload: String, access: String, _ client: TestClient, id: String = digest) {
        client.send("""
            <iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='\(node)'><item id='\(id)'>\(payload)</item></publish>\
            <publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
            <value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#access_model'><value>\(access)</value></field></x>\
            </publish-options></pubsub></iq>
            """)
    }

    private func publishAvatar(access: String = "open", id: String = digest, _ client: TestClient) {
        publish("urn:xmpp:avatar:data", "<data xmlns='urn:xmpp:avatar:data'>\(Self.text)</data>", access: access, client, id: id)
        publish(
            "urn:xmpp:avatar:metadata", "<metadata xmlns='urn:xmpp:avatar:metadata'><info bytes='9' id='\(id)' type='image/gif'/></metadata>",
            access: access, client, id: id)
        finish()
        client.forget()
    }

    /// What is done beside, in turns with the disk, is done.
    private func finish() {
        for _ in 0..<50 { server.run() }
    }

    private func card(of account: String, _ client: TestClient) -> String {
        client.forget()
        client.send("<iq type='get' id='v' to='\(account)@capulet.example'><vCard xmlns='vcard-temp'/></iq>")
        return client.receivedBesidesPresence().first?.description ?? ""
    }

    private func presence(_ sent: String, _ client: TestClient) -> String {
        client.forget()
        client.send(sent)
        return client.received().first { $0.element.localName == "presence" }?.description ?? ""
    }

    /// XEP-0153 §3.1: there is none.
    private static let nothing = "<x xmlns='vcard-temp:x:update'><photo/></x>"
    private static let update = "<x xmlns='vcard-temp:x:update'><photo>\(digest)</photo></x>"

    @Test("an avatar that is published for all is in the card, with what was there, and its digest in every presence (§4.1, §5)")
    func toCard() {
        let balcony = server.online("juliet/balcony")
        balcony.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>Juliet</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>AAAA</BINVAL></PHOTO></vCard></iq>")
        publishAvatar(balcony)
        let shown = card(of: "juliet", balcony)
        #expect(shown.contains("<FN>Juliet</FN><PHOTO><TYPE>image/gif</TYPE><BINVAL>\(Self.text)</BINVAL></PHOTO></vCard>") && !shown.contains("AAAA"))
        #expect(presence("<presence/>", balcony).contains(Self.update))
    }

    @Test("one that is not for all stays where it is (§8)", arguments: ["presence", "whitelist"])
    func hidden(access: String) {
        let balcony = server.online("juliet/balcony")
        publishAvatar(access: access, balcony)
        #expect(!card(of: "juliet", balcony).contains("PHOTO"))
        #expect(!presence("<presence/>", balcony).contains("photo"))
    }

    @Test("nor does one whose name is not the digest of the picture get into the card")
    func wrongName() {
        let balcony = server.online("juliet/balcony")
        publishAvatar(id: String(repeating: "0", count: 40), balcony)
        #expect(!card(of: "juliet", balcony).contains("PHOTO"))
    }

    @Test("who has no avatar any more has none in the card")
    func removed() {
        let balcony = server.online("juliet/balcony")
        publishAvatar(balcony)
        publish("urn:xmpp:avatar:metadata", "<metadata xmlns='urn:xmpp:avatar:metadata'/>", access: "open", balcony, id: "none")
        finish()
        #expect(!card(of: "juliet", balcony).contains("PHOTO"))
        #expect(presence("<presence/>", balcony).contains(Self.nothing))
    }

    @Test("a picture in a card is published, for all (§4.2)")
    func fromCard() {
        let balcony = server.online("juliet/balcony")
        balcony.send("""
            <iq type='set' id='v'><vCard xmlns='vcard-temp'><PHOTO><TYPE>image/gif</TYPE><BINVAL>\(Self.text.prefix(4))\n \(Self.text.dropFirst(4))</BINVAL>\
            </PHOTO></vCard></iq>
            """)
        let romeo = server.online("romeo/orchard")
        func items(_ node: String) -> String {
            romeo.send("<iq type='get' id='i' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='\(node)'/></pubsub></iq>")
            return romeo.receivedBesidesPresence().first?.description ?? ""
        }
        #expect(items("urn:xmpp:avatar:data").contains("<item id='\(Self.digest)'><data xmlns='urn:xmpp:avatar:data'>\(Self.text)</data></item>"))
        #expect(items("urn:xmpp:avatar:metadata").contains("<info bytes='9' id='\(Self.digest)' type='image/gif'/>"))
        #expect(presence("<presence/>", balcony).contains(Self.update))
    }

    private func items(_ node: String, _ client: TestClient) -> String {
        client.forget()
        client.send("<iq type='get' id='i' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='\(node)'/></pubsub></iq>")
        return client.receivedBesidesPresence().first?.description ?? ""
    }

    private func set(_ card: String, _ client: TestClient) {
        client.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'>\(card)</vCard></iq>")
        finish()
    }

    private static let photo = "<PHOTO><TYPE>image/gif</TYPE><BINVAL>\(text)</BINVAL></PHOTO>"

    @Test("a picture that is taken out of the card is nowhere any more, whoever has published it, and presence says that there is none", arguments: [true, false])
    func takenOut(isPublished: Bool) {
        let balcony = server.online("juliet/balcony")
        if isPublished { publishAvatar(balcony) } else { set("<FN>Juliet</FN>" + Self.photo, balcony) }
        let orchard = server.online("romeo/orchard")
        #expect(items("urn:xmpp:avatar:data", orchard).contains(Self.digest))
        set("<FN>Juliet</FN>", balcony)
        #expect(!items("urn:xmpp:avatar:data", orchard).contains(Self.digest))
        let metadata = items("urn:xmpp:avatar:metadata", orchard)
        #expect(metadata.contains("<metadata xmlns='urn:xmpp:avatar:metadata'/>") && !metadata.contains("info"))
        #expect(presence("<presence/>", balcony).contains(Self.nothing))
        #expect(!presence("<presence>\(Self.update)</presence>", balcony).contains(Self.digest))
        set(Self.photo, balcony)
        #expect(items("urn:xmpp:avatar:metadata", orchard).contains(Self.digest))
        #expect(presence("<presence/>", balcony).contains(Self.update))
    }

    @Test("one that was published besides, for few, is not the card's affair")
    func another() {
        let balcony = server.online("juliet/balcony")
        set(Self.photo, balcony)
        publish(
            "urn:xmpp:avatar:metadata", "<metadata xmlns='urn:xmpp:avatar:metadata'><info bytes='9' id='other' type='image/gif'/></metadata>",
            access: "open", balcony, id: "other")
        finish()
        set("<FN>Juliet</FN>", balcony)
        #expect(items("urn:xmpp:avatar:metadata", balcony).contains("id='other'"))
    }

    // MARK: One change behind another

    private func publishOnto(_ disk: SlowDisk) {
        publish("urn:xmpp:avatar:data", "<data xmlns='urn:xmpp:avatar:data'>\(Self.text)</data>", access: "open", disk.client)
        disk.settle()
        publish(
            "urn:xmpp:avatar:metadata", "<metadata xmlns='urn:xmpp:avatar:metadata'><info bytes='9' id='\(Self.digest)' type='image/gif'/></metadata>",
            access: "open", disk.client)
    }

    private static let metadata = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:metadata'/></pubsub>"

    @Test("a card that is set while an avatar is on its way into the old one is kept, whenever that is", arguments: 0..<16)
    func cardMeanwhile(moment: Int) {
        let disk = SlowDisk()
        disk.client.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>Old</FN></vCard></iq>")
        disk.settle()
        publishOnto(disk)
        disk.interleave(moment) { $0.send("<iq type='set' id='v2'><vCard xmlns='vcard-temp'><FN>New</FN></vCard></iq>") }
        let shown = disk.answer("<vCard xmlns='vcard-temp'/>")
        #expect(shown.contains("<FN>New</FN>"))
        #expect(shown.contains(Self.text) == disk.answer(Self.metadata).contains("bytes='9'"))
    }

    @Test("one with a picture of its own keeps that, which is published, whenever it is set", arguments: 0..<16)
    func pictureMeanwhile(moment: Int) {
        let disk = SlowDisk()
        publishOnto(disk)
        let card = "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/gif</TYPE><BINVAL>AAAA</BINVAL></PHOTO></vCard>"
        disk.interleave(moment) { $0.send("<iq type='set' id='v2'>\(card)</iq>") }
        #expect(disk.answer("<vCard xmlns='vcard-temp'/>").contains("<BINVAL>AAAA</BINVAL>"))
        let metadata = disk.answer(Self.metadata)
        #expect(!metadata.contains(Self.digest) && metadata.contains("bytes='3'"))
    }

    @Test("and an avatar that is published while a card's picture is on its way to the nodes is not taken back", arguments: 0..<16)
    func avatarMeanwhile(moment: Int) {
        let disk = SlowDisk()
        let other = "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/gif</TYPE><BINVAL>AAAA</BINVAL></PHOTO></vCard>"
        publish("urn:xmpp:avatar:data", "<data xmlns='urn:xmpp:avatar:data'>\(Self.text)</data>", access: "open", disk.client)
        disk.settle()
        disk.client.send("<iq type='set' id='v'>\(other)</iq>")
        disk.interleave(moment) { client in
            publish(
                "urn:xmpp:avatar:metadata", "<metadata xmlns='urn:xmpp:avatar:metadata'><info bytes='9' id='\(Self.digest)' type='image/gif'/></metadata>",
                access: "open", client)
        }
        #expect(disk.answer(Self.metadata).contains("bytes='9'"))
    }

    @Test("a picture whose card is on disk is published after a crash, and one that was published is in the card", arguments: [true, false])
    func crash(isInCard: Bool) {
        let disk = SlowDisk()
        if isInCard {
            disk.client.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'>\(Self.photo)</vCard></iq>")
        } else {
            publishOnto(disk)
        }
        disk.server.store.commit(1)
        let next = TestServer(after: disk.server)
        // Both have the same features: what the dead one had under way comes to its end, on a disk that nobody reads any more.
        disk.settle()
        let chamber = next.online("juliet/chamber")
        SlowDisk.settle(next)
        #expect(presence("<presence/>", chamber).contains(Self.update))
        #expect(disk.answer(Self.metadata, of: next).contains(Self.digest))
        #expect(disk.answer("<vCard xmlns='vcard-temp'/>", of: next).contains(Self.text))
        let id = next.store.contents[next.address("juliet")]?.id ?? .nobody
        #expect(next.store.contents.document(id, .conversions) == nil)
    }

    @Test("what a client says about its avatar is corrected, unless it says that it has none (§5)", arguments: [
        ("", true), ("<x xmlns='vcard-temp:x:update'/>", true), ("<x xmlns='vcard-temp:x:update'><photo>abc</photo></x>", true),
        ("<x xmlns='vcard-temp:x:update'><photo/></x>", false), (update, true),
    ])
    func corrected(said: String, isThere: Bool) {
        let balcony = server.online("juliet/balcony")
        publishAvatar(balcony)
        let shown = presence("<presence>\(said)</presence>", balcony)
        #expect(shown.contains(Self.update) == isThere)
        #expect(shown.components(separatedBy: "vcard-temp:x:update").count == (said.isEmpty && !isThere ? 1 : 2))
    }

    @Test("directed presence has it as well, and so has presence after a restart")
    func everywhere() {
        server.createAccount("romeo")
        let balcony = server.online("juliet/balcony")
        let orchard = server.online("romeo/orchard")
        publishAvatar(balcony)
        orchard.forget()
        balcony.send("<presence to='romeo@capulet.example/orchard'/>")
        #expect(orchard.received().first?.description.contains(Self.update) == true)
        let next = server.restarted()
        let chamber = next.client("juliet/chamber")
        chamber.send("<presence/>")
        #expect(chamber.received().contains { $0.description.contains(Self.update) })
    }
}

/// A server whose disk is slow, with a client of Juliet's.
struct SlowDisk {
    let server = TestServer(commits: .manual)
    let client: TestClient

    init() {
        server.createAccount("juliet")
        server.store.commit()
        client = server.online("juliet/balcony")
        settle()
    }

    func settle() { Self.settle(server) }

    static func settle(_ server: TestServer) {
        for _ in 0..<100 {
            server.run()
            server.store.commit()
        }
        server.run()
    }

    /// Has the client do something after so many steps of what is under way, and between what was read and what is written then: each read waits for
    /// what was submitted before it.
    func interleave(_ moment: Int, _ act: (TestClient) -> Void) {
        for _ in 0..<moment {
            server.store.submit([])
            server.store.commit(1)
            server.run()
        }
        act(client)
        server.store.commit(1)
        settle()
    }

    /// - Parameter other: the server that has come in its place.
    func answer(_ content: String, of other: TestServer? = nil) -> String {
        let asked = other?.client("juliet/garden") ?? client
        asked.forget()
        asked.send("<iq type='get' id='v' to='juliet@capulet.example'>\(content)</iq>")
        Self.settle(other ?? server)
        return asked.receivedBesidesPresence().first?.description ?? ""
    }
}

extension String {
    fileprivate func components(separatedBy part: String) -> [Substring] {
        var (rest, parts): (Substring, [Substring]) = (self[...], [])
        while let found = rest.firstRange(of: part) {
            parts.append(rest[..<found.lowerBound])
            rest = rest[found.upperBound...]
        }
        return parts + [rest]
    }
}
