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
        #expect(!presence("<presence/>", balcony).contains("photo"))
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
