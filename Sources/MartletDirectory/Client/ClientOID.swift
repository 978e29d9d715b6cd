/// Operations that the client itself knows (RFC 4511 §6.3 and where they are defined).
enum ClientOID {
    /// RFC 4511 §4.4.1.
    static let noticeOfDisconnection = "1.3.6.1.4.1.1466.20036"
    /// RFC 4511 §4.14.
    static let startTLS = "1.3.6.1.4.1.1466.20037"
    /// RFC 4532.
    static let whoAmI = "1.3.6.1.4.1.4203.1.11.3"
}
