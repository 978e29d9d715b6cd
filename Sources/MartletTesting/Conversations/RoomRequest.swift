/// What clients say to rooms (XEP-0045) before a conversation begins. `{id}` stands for the identifier of a request.
enum RoomRequest {
    /// XEP-0045 §7.2.1. Nothing of what was said before is asked for (§7.2.14).
    static func entry(into room: String, as nickname: String) -> String {
        "<presence to='\(room)/\(nickname)'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
    }

    /// XEP-0045 §10.2; without fields the default configuration is accepted (§10.1.2).
    static func configuration(_ fields: [Conversation.RoomSetup.Field], of room: String) -> String {
        let type = Conversation.RoomSetup.Field(name: "FORM_TYPE", value: "http://jabber.org/protocol/muc#roomconfig")
        let elements = (fields.isEmpty ? [] : [type] + fields).map {
            "<field var='\($0.name)'><value>\($0.value)</value></field>"
        }
        return """
            <iq type='set' id='{id}' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#owner'>\
            <x xmlns='jabber:x:data' type='submit'>\(elements.joined())</x></query></iq>
            """
    }

    /// XEP-0045 §9, §10.3 to §10.8.
    static func affiliation(_ affiliation: String, of account: String, in room: String) -> String {
        """
        <iq type='set' id='{id}' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#admin'>\
        <item affiliation='\(affiliation)' jid='\(account)'/></query></iq>
        """
    }
}
