/// The attributes by which a person is described, as the directory calls them.
package enum PersonAttributes {
    static let keys = "authpassword"
    static let password = "userpassword"
    static let certificate = "usercertificate"
    static let photo = "jpegphoto"
    static let policy = "xmppauthpolicy"
    static let displayNames = ["displayname", "cn"]

    /// What decides whether an account may be used, beside the filter of the search.
    static let standing = [
        "pwdaccountlockedtime", "pwdstarttime", "pwdendtime", "nsaccountlock", "useraccountcontrol", "accountexpires", "pwdreset", policy,
    ]

    /// What is shown of a person (`PersonProfile`).
    static let profile = [
        "displayname", "cn", "sn", "givenname", "initials", "generationqualifier", "mail", "telephonenumber", "mobile", "homephone",
        "facsimiletelephonenumber", "pager", "title", "employeetype", "o", "ou", "departmentnumber", "street", "l", "st", "postalcode", "c",
        "postaladdress", "labeleduri", "description", "preferredlanguage", photo,
    ]

    /// Everything that is mirrored of a person.
    ///
    /// - Parameters:
    ///   - others: what addresses, log-in names and filters need.
    ///   - hasPhotos: whether pictures are wanted, of which the digests are kept.
    package static func mirrored(others: some Sequence<String>, hasPhotos: Bool = true) -> MirroredAttributes {
        var forms: [String: MirroredAttributes.Form] = [:]
        for name in profile + standing + Array(others).map({ $0.lowercased() }) { forms[name] = .whole }
        forms["modifytimestamp"] = .whole
        forms[keys] = .secret
        forms[password] = .secret
        forms[certificate] = .digest
        forms[photo] = hasPhotos ? .photo : nil
        return MirroredAttributes(forms)
    }
}
